"""ISMRM raw data, written by the ismrmrd package."""

import ismrmrd
import numpy as np
from ismrmrd import xsd


def space(matrix, size):
  return xsd.encodingSpaceType(
    matrixSize=xsd.matrixSizeType(**dict(zip("xyz", matrix, strict=True))),
    fieldOfView_mm=xsd.fieldOfViewMm(**dict(zip("xyz", size, strict=True))),
  )


def header(encoded, recon, limits=None, trajectory="cartesian", calibration=None):
  """Header for (readout, lines) of the encoded and the reconstructed matrix, 2 mm."""
  spaces = [
    space((*matrix, 1), (*(2.0 * n for n in matrix), 5.0))
    for matrix in (encoded, recon)
  ]
  lines = limits and xsd.limitType(
    **dict(zip(("minimum", "maximum", "center"), limits, strict=True))
  )
  return xsd.ismrmrdHeader(
    subjectInformation=xsd.subjectInformationType(patientName="Doe^Jane"),
    acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
      systemVendor="ACME", systemFieldStrength_T=1.5, institutionName="Hill Hospital"
    ),
    experimentalConditions=xsd.experimentalConditionsType(
      H1resonanceFrequency_Hz=63_500_000
    ),
    encoding=[
      xsd.encodingType(
        encodedSpace=spaces[0],
        reconSpace=spaces[1],
        encodingLimits=xsd.encodingLimitsType(kspace_encoding_step_1=lines),
        trajectory=xsd.trajectoryType(trajectory),
        parallelImaging=calibration
        and xsd.parallelImagingType(
          accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=2, kspace_encoding_step_2=1
          ),
          calibrationMode=xsd.calibrationModeType(calibration),
        ),
      )
    ],
    sequenceParameters=xsd.sequenceParametersType(TR=[450.0], sequence_type="TSE"),
  )


def readout(data, line, k=0, flags=(), **fields):
  """One acquisition [coils, samples]; counters are fields, too."""
  acquisition = ismrmrd.Acquisition.from_array(np.asarray(data, np.complex64))
  acquisition.center_sample = data.shape[-1] // 2
  acquisition.idx.kspace_encode_step_1, acquisition.idx.slice = line, k
  for flag in flags:
    acquisition.set_flag(getattr(ismrmrd, f"ACQ_IS_{flag}"))
  for name, value in fields.items():
    counter = hasattr(acquisition.idx, name)
    setattr(acquisition.idx if counter else acquisition, name, value)
  return acquisition


def readouts(kspace, first=0, **fields):
  """All lines of k-space [slices, coils, lines, samples], slices interleaved."""
  return [
    readout(kspace[k, :, line], first + line, k, **fields)
    for line in range(kspace.shape[2])
    for k in range(len(kspace))
  ]


def save(path, head, acquisitions, group="dataset"):
  path.parent.mkdir(parents=True, exist_ok=True)
  with ismrmrd.Dataset(str(path), group, mode="a") as dataset:
    dataset.write_xml_header(head.toXML("utf-8"))
    for acquisition in acquisitions:
      dataset.append_acquisition(acquisition)
