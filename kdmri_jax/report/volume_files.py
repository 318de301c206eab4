"""Folders of volumes to be measured: h5, NIfTI, npz and cfl alike."""

import os
import pathlib
import zipfile

import h5py
import numpy as np

from kdmri_jax.data.sources.bart import SENSITIVITIES
from kdmri_jax.errors import UserError
from kdmri_jax.io.cfl import read_cfl
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.reading import reading, split_name

KEYS = (
  "reconstruction",
  "target",
  "volfs",
  "reconstruction_rss",
  "reconstruction_esc",
)
NPZ_KEYS = (*KEYS, "image")

_REMEDY = "Make this file again, or remove it from the folder."


def find(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
  """The volumes of a folder: name without ending -> file.

  Raises:
    UserError: there is no such folder, no volume in it, or two of one name.
  """
  folder, files = pathlib.Path(folder), {}
  for path in sorted(folder.iterdir()) if folder.is_dir() else []:
    name, suffix = split_name(path)
    if path.name[0] == "." or suffix not in _READERS or name.endswith(SENSITIVITIES):
      continue
    if name in files:
      raise UserError(
        folder,
        f"{files[name].name} and {path.name}",
        "one file per volume, because volumes are matched by name",
        "Move one of them to another folder.",
      )
    files[name] = path
  if not files:
    raise UserError(
      folder,
      "no .h5 file, nor any other volume" if folder.is_dir() else "no such folder",
      f"a folder of volumes ({', '.join(_READERS)})",
      "Name the folder that holds the files themselves.",
    )
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
    raise UserError(
      path,
      f"{name} of type {volume.dtype} and shape {volume.shape}",
      "a volume of numbers (slices, rows, columns)",
      _REMEDY,
    )
  if volume.dtype.kind in "fc" and not np.isfinite(volume).all():
    raise UserError(
      path, f"NaN or infinite values in {name}", "finite intensities", _REMEDY
    )
  volume = np.abs(volume) if volume.dtype.kind == "c" else volume
  if volume.ndim == 2:
    volume = volume[None]
  elif name == "volfs":
    volume = volume.transpose(2, 0, 1)
  return np.ascontiguousarray(volume, np.float64), subject


def _of_h5(path, key):
  with reading(path, TypeError), h5py.File(path) as file:
    name = _chosen(path, (key,) if key else KEYS, list(file))
    subject = file.attrs.get("subject", "")
    subject = subject.decode() if isinstance(subject, bytes) else str(subject)
    return np.asarray(file[name]), name, subject


def _of_npz(path, key):
  with reading(path, zipfile.BadZipFile), np.load(path) as file:
    name = _chosen(path, (key,) if key else NPZ_KEYS, list(file))
    return file[name], name, ""


def _of_nifti(path, key):
  del key
  images, _ = read_nifti(path)
  return images, "the image", ""


def _of_cfl(path, key):
  del key
  array = read_cfl(path)
  used = {axis for axis, size in enumerate(array.shape) if size > 1}
  if not used <= {0, 1, 2, 13} or {2, 13} <= used:
    raise UserError(
      path,
      f"an array of the dimensions {[n for n in array.shape]}",
      "images: dimensions 0, 1 and one of 2 and 13",
      "Combine coils, and take one entry of others: bart slice DIM 0 INPUT OUTPUT",
    )
  flat = np.asarray(array.reshape(*array.shape[:2], -1, order="F"))
  return np.moveaxis(flat, 2, 0), "the image", ""


def _chosen(path, keys, there):
  """The first of the keys that exists."""
  present = [name for name in keys if name in there]
  if not present:
    raise UserError(
      path,
      "the keys " + (", ".join(there) or "(none)"),
      f"the key {keys[0]}" if len(keys) == 1 else f"one of the keys {', '.join(keys)}",
      "Name the dataset with the option key.",
    )
  return present[0]


_READERS = {
  ".h5": _of_h5,
  ".nii": _of_nifti,
  ".nii.gz": _of_nifti,
  ".npz": _of_npz,
  ".cfl": _of_cfl,
}
