"""Scans in files without a layout of their own: h5 of plain arrays, npy, NIfTI, npz."""

import pathlib

import h5py
import numpy as np

from kdmri_jax.data.measured import Measured
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.inference import scan_format
from kdmri_jax.io import raw_header
from kdmri_jax.io.h5 import h5_array
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.npz import read_npz
from kdmri_jax.io.reading import reading

IMAGE_KEYS = ("target", "volfs", "reconstruction_rss", "reconstruction_esc")


def read_images(path: pathlib.Path) -> Volume:
  """Reads fully sampled images from NIfTI, NumPy archives or h5.

  Args:
    path: .nii, .nii.gz, .npz with "image", or .h5 with one of `IMAGE_KEYS`; (slices,
      rows, columns), but "volfs", as in the published code, (rows, columns, slices).

  Returns:
    The volume as stored; its record says which file it was.

  Raises:
    UserError: another type of file, a damaged one, or none of the keys.
  """
  if path.name.endswith((".nii", ".nii.gz")):
    images, record = read_nifti(path)
    record["source"] = "nifti"
    return Volume(path.name.split(".")[0], path.stem, images, record=record)
  record = {"file": str(path)}
  if path.suffix == ".npz" and path.is_file():
    images, _ = read_npz(path)
    return Volume(path.stem, path.stem, images, record=record | {"source": "npz"})
  with _opened(path) as file:
    key = _first_key(file, IMAGE_KEYS)
    with reading(path):
      images = h5_array(file, key)
      kept = raw_header.read(file.get("header"), path)
  if key == "volfs":
    images = np.moveaxis(np.atleast_3d(images), 2, 0)
  record |= {"source": scan_format.H5, "key": key}
  return Volume(path.stem, path.stem, images, record=record, header=kept)


def read_kspace(path: pathlib.Path, tag: str) -> np.ndarray | None:
  """Reads undersampled k-space from h5, or None where the file has none.

  Args:
    path: .h5 with "kspace" (slices, rows, columns) or, as in the published code,
      "kspace_volus_*" (rows, columns, slices); zero frequency at [0, 0].
    tag: suffix of the one to take of several "kspace_volus_*", such as "4x".

  Returns:
    complex64 [S, H, W].

  Raises:
    UserError: a damaged file, several "kspace_volus_*" of other tags, real numbers,
      NaN, or another number of dimensions.
  """
  with _opened(path) as file:
    key = _kspace_key(file, tag)
    if not key:
      return None
    with reading(path):
      kspace = h5_array(file, key)
  if key != "kspace":
    kspace = np.moveaxis(np.atleast_3d(kspace), 2, 0)
  return _checked(path, key, kspace)


def read_h5(path: pathlib.Path, tag: str) -> Volume | Measured:
  """Undersampled k-space of an h5 file, or where it has none its images.

  Args:
    path: the file.
    tag: see `read_kspace`.

  Raises:
    UserError: as `read_kspace` and `read_images`.
  """
  kspace = read_kspace(path, tag)
  if kspace is None:
    return read_images(path)
  return Measured(kspace, None, {"file": str(path), "source": scan_format.H5})


def read_npy(path: pathlib.Path, contrast: str) -> Volume | Measured:
  """One array of images or undersampled k-space.

  Args:
    path: the file, [S, H, W] or [H, W].
    contrast: "kspace" or "image"; "" where real numbers tell that they are an image.

  Raises:
    UserError: a damaged file, another contrast or none for complex numbers, or k-space
      that is not complex or finite.
  """
  with reading(path):
    array = np.load(path, allow_pickle=False)
  record = {"file": str(path), "source": scan_format.NPY}
  array = array[None] if array.ndim == 2 else array
  if contrast not in ("", "kspace", "image"):
    raise UserError(
      "--contrast", repr(contrast), "'kspace' or 'image' for .npy", "Correct it."
    )
  if array.dtype.kind == "c" and not contrast:
    raise UserError(
      path,
      "complex numbers, which may be k-space or images",
      "--contrast=kspace (zero frequency at [0, 0]) or --contrast=image",
      "Add one of the two.",
    )
  if contrast == "kspace":
    return Measured(_checked(path, "an array", array), None, record)
  return Volume(path.stem, path.stem, array, record=record)


def _checked(path, key, kspace) -> np.ndarray:
  if kspace.ndim != 3 or kspace.dtype.kind != "c" or not np.isfinite(kspace).all():
    raise UserError(
      path,
      f"{key} of type {kspace.dtype} and shape {kspace.shape}, or with NaN",
      "finite complex numbers (slices, rows, columns)",
      "Store single-coil k-space, zero frequency at [0, 0].",
    )
  return kspace.astype(np.complex64)


def _opened(path: pathlib.Path):
  if not path.is_file():
    raise UserError(
      path, "no such file", "an image or k-space file", "Correct the path."
    )
  with reading(path):
    return h5py.File(path)


def _kspace_key(file: h5py.File, tag: str) -> str | None:
  tagged = [key for key in file if key.startswith("kspace_volus_")]
  for key in ("kspace", f"kspace_volus_{tag}"):
    if key in file:
      return key
  if len(tagged) > 1:
    raise UserError(
      file.filename,
      f"several k-spaces, {', '.join(tagged)}",
      f"one of them, or kspace_volus_{tag} as data.acceleration_tag of the run says",
      "Leave one in the file, or use a run of its acceleration.",
    )
  return tagged[0] if tagged else None


def _first_key(file: h5py.File, keys) -> str:
  for key in keys:
    if key in file:
      return key
  raise UserError(
    file.filename,
    f"the keys {', '.join(file) or 'none'}",
    f"one of {', '.join(keys)}, or k-space",
    "Store the images under one of these keys.",
  )
