"""Which data source reads a file or folder, told from its name and contents."""

import pathlib
import re
from collections.abc import Iterable

import h5py
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import reading, split_name

H5, NPY = "h5", "npy"
KNOWN = (
  "h5, NIfTI (.nii, .nii.gz), .npz, .npy, BART (.cfl), ISMRM raw data (.h5, .mrd), "
  "rawdata<k>.mat, or a folder of a DICOM series or of rawdata<k>.mat"
)

_SOURCES = {
  ".nii": "nifti",
  ".nii.gz": "nifti",
  ".npz": "npz",
  ".npy": NPY,
  ".cfl": "bart",
  ".hdr": "bart",
  ".mrd": "ismrmrd",
  ".mat": "hammernik",
  ".h5": H5,
  ".hdf5": H5,
}
_DICOM = (".dcm", ".ima", ".dicom")
_FASTMRI_KEYS = {"ismrmrd_header", "reconstruction_rss", "reconstruction_esc"}
_FASTMRI_ATTRIBUTES = {"acquisition", "patient_id"}


def source_of(path: pathlib.Path) -> str:
  """The name of the source that reads a file or folder.

  Returns:
    A name in the table of `data.sources`, `H5` (k-space or images under one of the
    keys that `inference.read_scan` reads) or `NPY` (one array).

  Raises:
    UserError: no such file or folder, an unknown format, or one that fits several
      sources.
  """
  if path.is_dir():
    return _of_folder(path)
  if not path.is_file():
    raise UserError(path, "no such file", KNOWN, "Correct --input.")
  stem, suffix = split_name(path)
  source = _SOURCES.get(suffix)
  if source is None:
    raise _unknown(path, suffix)
  if source == H5:
    return _of_h5(path)
  if source == NPY:
    return _of_npy(path)
  if source == "nifti" and re.fullmatch(r"CC\d{4}_.+", stem):
    found = "a name of the Calgary-Campinas originals, whose slices lie along axis 0"
    raise _ambiguous(path, found, ("calgary_campinas", "nifti"))
  return source


def _unknown(path, suffix):
  if suffix in _DICOM or _is_dicom(path):
    return UserError(
      path,
      "one DICOM file",
      "the folder of a series",
      "Name the folder with --input, and, where it holds several series, one of them "
      "with --contrast=NUMBER.",
    )
  found = f"the name ending {suffix}" if suffix else "a name without ending"
  return UserError(path, found, KNOWN, "Name the source with --source, or convert it.")


def _of_folder(path):
  if any(path.glob("rawdata*.mat")):
    return "hammernik"
  files = (file for file in sorted(path.rglob("*")) if file.is_file())
  if any(map(_is_dicom, files)):
    return "dicom"
  raise UserError(
    path,
    "a folder without DICOM files and rawdata<k>.mat",
    KNOWN,
    "Name one file, or the source that reads the folder with --source.",
  )


def _is_dicom(path) -> bool:
  if path.suffix.lower() in _DICOM:
    return True
  with reading(path), path.open("rb") as file:
    return file.read(132)[128:] == b"DICM"


def _of_npy(path):
  with reading(path):
    array = np.load(path, mmap_mode="r", allow_pickle=False)
  is_pair = array.ndim == 4 and array.shape[1:] == (256, 256, 2)
  return "calgary_campinas" if is_pair and array.dtype.kind == "f" else NPY


def _of_h5(path):
  with reading(path), h5py.File(path) as file:
    groups = [part for part in file.values() if isinstance(part, h5py.Group)]
    if any({"xml", "data"} <= set(group) for group in groups):
      return "ismrmrd"
    kspace = file.get("kspace")
    if not isinstance(kspace, h5py.Dataset):
      return H5
    shape, kind = kspace.shape, kspace.dtype.kind
    is_fastmri = (
      _FASTMRI_KEYS & set(file)
      or _FASTMRI_ATTRIBUTES & set(file.attrs)
      or getattr(file.get("mask"), "ndim", 0) == 1
    )
  if is_fastmri:
    return "fastmri"
  if len(shape) != 4:
    return H5
  if kind == "f":
    return "calgary_multi"
  raise _ambiguous(path, f"k-space of shape {shape}, without header", ("fastmri",))


def _ambiguous(path, found: str, sources: Iterable[str]) -> UserError:
  flags = " or ".join(f"--source={name}" for name in sources)
  return UserError(
    path, found, "a file that tells its own layout", f"Say what it is with {flags}."
  )
