"""DICOM files of MR images, written by pydicom."""

import hashlib

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
  ExplicitVRLittleEndian,
  MRImageStorage,
)

AXIAL = (1, 0, 0, 0, 1, 0)
UID = "1.2.826.0.1.3680043.10.543"


def code(text, prefix="subject_"):
  return prefix + hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def dataset(array, series=1, patient="P 17", kind=MRImageStorage, **elements):
  """An MR image of stored values, [rows, columns] or [frames, rows, columns]."""
  meta = FileMetaDataset()
  meta.MediaStorageSOPClassUID = kind
  meta.MediaStorageSOPInstanceUID = f"{UID}.9.{np.abs(array).sum():.0f}"
  meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
  result = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
  result.SOPClassUID, result.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
  result.SeriesInstanceUID = f"{UID}.1{sum(patient.encode())}.{series}"
  result.SeriesNumber, result.SeriesDescription = series, "T1 MPRAGE"
  result.PatientName, result.PatientID = "Doe^Jane", patient
  result.PatientBirthDate, result.InstitutionName = "19700101", "Hill Hospital"
  result.Manufacturer, result.MagneticFieldStrength = "ACME", "1.5"
  result.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
  result.AcquisitionMatrix = [0, 6, 5, 0]
  result.Rows, result.Columns = array.shape[-2:]
  result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
  result.BitsAllocated = result.BitsStored = 16
  result.HighBit, result.PixelRepresentation = 15, int(array.min() < 0)
  result.PixelData = array.astype("<i2").tobytes()
  for name, value in elements.items():
    setattr(result, name, value)
  return result


def save(path, *arguments, **elements):
  path.parent.mkdir(parents=True, exist_ok=True)
  dataset(*arguments, **elements).save_as(path, enforce_file_format=True)


def stored(seed=0, shape=(4, 6, 5)):
  return np.random.default_rng(seed).integers(1, 4000, shape)


def plain(root, seed=0, order=(2, 0, 3, 1), **elements):
  """A series whose files are named against the order of its slices, 3 mm apart."""
  array = stored(seed)
  for place, k in enumerate(order):
    save(
      root / f"IM{place}",
      array[k],
      InstanceNumber=place + 1,
      ImagePositionPatient=[-10, 20, 3 * k - 7],
      ImageOrientationPatient=list(AXIAL),
      PixelSpacing=[1.5, 0.5],
      SliceThickness=2.5,
      **elements,
    )
  return array
