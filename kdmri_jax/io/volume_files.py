"""Folders of volumes to be measured: h5, NIfTI, npz and cfl alike."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.cfl import SENSITIVITIES, read_cfl
from kdmri_jax.io.h5 import IMAGE_KEYS, first_key, h5_array, opened, plain
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.numpy_files import npz_array, opened_npz
from kdmri_jax.io.reading import split_name

KEYS = ("reconstruction", *IMAGE_KEYS)
NPZ_KEYS = (*KEYS, "image")

_REMEDY = "Make this file again, or remove it from the folder."


def find(
  folder: str | os.PathLike, endings: Sequence[str] = ()
) -> dict[str, pathlib.Path]:
  """The volumes of a folder: name without ending -> file.

  Args:
    folder: the folder; folders in it are not read.
    endings: of the files; () for those of all formats that `read_volume` reads.

  Raises:
    UserError: there is no such folder, no volume in it, or two of one name.
  """
  folder, files = pathlib.Path(folder), {}
  for path in walk.files(folder, endings or tuple(_READERS), below=False):
    name, _ = split_name(path)
    if name.endswith(SENSITIVITIES):
      continue
    if name in files:
      found = f"{files[name].name} and {path.name}"
      expected = "one file per volume, because volumes are matched by name"
      raise UserError(folder, found, expected, "Move one of them to another folder.")
    files[name] = path
  if not files:
    found = "no .h5 file, nor any other volume" if folder.is_dir() else "no such folder"
    expected = f"a folder of volumes ({', '.join(_READERS)})"
    remedy = "Name the folder that holds the files themselves."
    raise UserError(folder, found, expected, remedy)
  return files


def read_volume(path: str | os.PathLike, *, key: str = "") -> tuple[np.ndarray, str]:
  """Reads one volume.

  Args:
    path: h5 or npz, (slices, rows, columns), but "volfs" (rows, columns, slices);
      NIfTI or cfl, (rows, columns, slices), of cfl in BART's dimension 2 or 13; or a
      single image (rows, columns).
    key: array to read from h5 and npz; "" takes the first of `KEYS` or `NPZ_KEYS`
      present.

  Returns:
    The magnitude, float64 [S, H, W], and the attribute "subject" of h5 ("" without).

  Raises:
    UserError: the file is damaged or cut short, lacks the key, or holds no volume of
      finite numbers.
  """
  path = pathlib.Path(path)
  volume, name, subject = _READERS[split_name(path)[1]](path, key)
  if volume.dtype.kind not in "fiubc" or volume.ndim not in (2, 3):
    found = f"{name} of type {volume.dtype} and shape {volume.shape}"
    raise UserError(path, found, "numbers (slices, rows, columns)", _REMEDY)
  if volume.dtype.kind in "fc" and not np.isfinite(volume).all():
    found = f"NaN or infinite values in {name}"
    raise UserError(path, found, "finite intensities", _REMEDY)
  volume = np.abs(volume) if volume.dtype.kind == "c" else volume
  if volume.ndim == 2:
    volume = volume[None]
  elif name == "volfs":
    volume = volume.transpose(2, 0, 1)
  return np.ascontiguousarray(volume, np.float64), subject


def _of_h5(path, key):
  with opened(path) as file:
    name = first_key(path, (key,) if key else KEYS, file)
    return h5_array(file, name), name, str(plain(file.attrs.get("subject", "")))


def _of_npz(path, key):
  with opened_npz(path) as file:
    name = first_key(path, (key,) if key else NPZ_KEYS, file)
    return npz_array(file, name), name, ""


def _of_cfl(path):
  array = read_cfl(path)
  used = {axis for axis, size in enumerate(array.shape) if size > 1}
  if not used <= {0, 1, 2, 13} or {2, 13} <= used:
    found = f"an array of the dimensions {list(array.shape)}"
    expected = "images: dimensions 0, 1 and one of 2 and 13"
    remedy = "Combine coils, and take one entry of others: bart slice DIM 0 IN OUT"
    raise UserError(path, found, expected, remedy)
  flat = np.asarray(array.reshape(*array.shape[:2], -1, order="F"))
  return np.moveaxis(flat, 2, 0)


_READERS = {
  ".h5": _of_h5,
  ".hdf5": _of_h5,
  ".nii": lambda path, _: (read_nifti(path)[0], "the image", ""),
  ".nii.gz": lambda path, _: (read_nifti(path)[0], "the image", ""),
  ".npz": _of_npz,
  ".cfl": lambda path, _: (_of_cfl(path), "the image", ""),
}
