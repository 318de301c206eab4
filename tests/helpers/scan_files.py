"""One phantom, a network for it, and the files that hold it in each format."""

import functools
import struct

import h5py
import nibabel
import numpy as np
import pydicom
from helpers.data_files import BASE
from helpers.tiny import finish, tiny_config
from pydicom.dataset import FileDataset, FileMetaDataset

from kdmri_jax import config as config_lib
from kdmri_jax.errors import arguments_of
from kdmri_jax.inference import read_scan, reconstruct
from kdmri_jax.training.experiment import Experiment

SHAPE = (3, 10, 9)
# Whole numbers [S, H, W], all different.
PHANTOM = np.random.default_rng(0).permutation(np.prod(SHAPE)).reshape(SHAPE) * 7 + 1
# Oblique, rows towards posterior, slices downwards, anisotropic.
DIRECTIONS = np.array([[0.28, 0.96, 0], [-0.96, 0.28, 0], [0, 0, -1]])
AFFINE = np.eye(4)
AFFINE[:3, :3] = DIRECTIONS * (0.9, 1.2, 3.3)
AFFINE[:3, 3] = (-31.5, 47.25, 12.125)


@functools.cache
def student(temporary):
  """The folder of a run's student with its first weights; columns are phase-encoded.

  Args:
    temporary: where pytest keeps all folders; one run serves all tests there.
  """
  folder = temporary / "student"
  config = {"epochs": 1, "devices": 1}
  config |= {"data.phantom.subjects": 3, "data.phantom.slices": 1}
  config |= {"data.phantom.size": SHAPE[1:], "mask.axis": 1, "mask.centre_lines": 2}
  config |= {"mask.acceleration": 2.0}
  settings = tiny_config()
  settings.update_from_flattened_dict(config)
  finish(Experiment(config_lib.parse(settings), folder), "student")
  return folder


def read(path, **options):
  """Reads a scan as `kdmri reconstruct` does for a run on phantoms."""
  with arguments_of("--"):
    return read_scan.read(path, BASE, **options)


def run(workdir, scan):
  return reconstruct.run_scan(workdir, "student", scan, batch_size=3).images


def save_nifti(path, phantom, image=nibabel.Nifti1Image):
  array = image(np.moveaxis(phantom, 0, 2).astype(np.int16), AFFINE)
  array.header.set_qform(AFFINE, code="scanner")
  array.header.set_xyzt_units("mm", "sec")
  nibabel.save(array, path)


def save_cfl(path, array):
  """The pair number by number, the first index fastest."""
  sizes = " ".join(map(str, array.shape))
  path.with_suffix(".hdr").write_text(f"# Dimensions\n{sizes} \n")
  numbers = (struct.pack("<ff", z.real, z.imag) for z in array.T.ravel())
  path.with_suffix(".cfl").write_bytes(b"".join(numbers))


def bart_order(planes):
  """Slices [S, C, H, W] in BART's dimensions, slices in 13."""
  array = planes.transpose(2, 3, 1, 0)
  return array.reshape(*array.shape[:2], 1, array.shape[2], *[1] * 9, array.shape[3])


def save_dicom(folder, phantom, patient="P 17", **elements):
  """A series with its slices in the geometry of `AFFINE`, named against their order."""
  folder.mkdir()
  to_lps = np.array([-1, -1, 1])
  rows, columns, step = (DIRECTIONS * to_lps[:, None]).T
  for k, image in enumerate(phantom):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.SeriesInstanceUID, file.SeriesNumber, file.PatientID = "1.2.4", 5, patient
    file.SeriesDescription, file.ImageType = "T1", ["ORIGINAL", "PRIMARY", "M"]
    file.Rows, file.Columns = image.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    position = AFFINE[:3, 3] * to_lps + 3.3 * k * step
    file.ImagePositionPatient = [round(float(x), 9) for x in position]
    file.ImageOrientationPatient = [float(x) for x in (*columns, *rows)]
    file.PixelSpacing = [0.9, 1.2]
    file.PixelData = image.astype("<u2").tobytes()
    for name, value in elements.items():
      setattr(file, name, value)
    file.save_as(folder / f"IM{9 - k}", enforce_file_format=True)


def save_fastmri(path, kspace, **more):
  with h5py.File(path, "w") as file:
    file["kspace"] = kspace.astype(np.complex64)
    for key, array in more.items():
      file[key] = array
