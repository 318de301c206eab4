"""Folders of volumes: h5, NIfTI, npz, npy, mat and cfl alike."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io import layout, mat, walk
from kdmri_jax.io.cfl import SENSITIVITIES, read_cfl
from kdmri_jax.io.h5 import ENDINGS, IMAGE_KEYS, h5_array, opened, plain
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.numpy_files import npz_array, opened_npz, read_npy
from kdmri_jax.io.reading import split_name

TARGET, PREDICTION = "target", "prediction"
RESULT, IMAGE = "reconstruction", "the image"
_INPUTS = ("zero_filled", "img_volus_")  # beginnings of names
_SLICES_LAST = ("volfs", "img_volus_")
_NOTHING = np.empty(0)

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
  for path in walk.files(folder, endings or FORMATS, below=False):
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
    expected = f"a folder of volumes ({', '.join(FORMATS)})"
    remedy = "Name the folder that holds the files themselves."
    raise UserError(folder, found, expected, remedy)
  return files


class StoredVolume(NamedTuple):
  """A volume, and what is known of its array.

  Attributes:
    images: [S, H, W]; from `read_volume` the magnitude, float64.
    key: name of the array in its file; "the image" where the file holds only one.
    others: further arrays of the file that may have been meant.
    fits: whether the name is one of the role, or was asked for.
    subject: the attribute "subject" of h5; "" without.
    is_complex: whether the array holds complex numbers.
    units: the attribute "units" of h5; "" without.
  """

  images: np.ndarray
  key: str = IMAGE
  others: tuple[str, ...] = ()
  fits: bool = True
  subject: str = ""
  is_complex: bool = False
  units: str = ""


def read_volume(
  path: str | os.PathLike, role: str = TARGET, *, key: str = ""
) -> StoredVolume:
  """Reads the magnitude of one volume; see `read_numbers`."""
  stored = read_numbers(path, role, key=key)
  images = np.abs(stored.images) if stored.is_complex else stored.images
  return stored._replace(images=np.ascontiguousarray(images, np.float64))


def read_numbers(
  path: str | os.PathLike, role: str = TARGET, *, key: str = ""
) -> StoredVolume:
  """Reads one volume as it is stored, real or complex.

  Args:
    path: h5, npz or npy, (slices, rows, columns), but "volfs" and "img_volus_*" of the
      published code (rows, columns, slices); NIfTI, mat or cfl, (rows, columns,
      slices), of cfl in BART's dimension 2 or 13; or a single image (rows, columns).
    role: `TARGET` or `PREDICTION`, which selects the array of h5, npz and mat. The
      target is the first of target, volfs, reconstruction_rss, reconstruction_esc and,
      in npz and mat, image; without these, reconstruction. A prediction is
      reconstruction; without it, the only one of the names of a target, zero_filled and
      img_volus_*. Of mat the only variable is taken, whatever its name.
    key: array to read from h5, npz and mat; "" takes that of the role.

  Raises:
    UserError: the file is damaged or cut short, lacks the array, has several that may
      be the prediction and no `reconstruction`, or holds no volume of finite numbers.
  """
  path = pathlib.Path(path)
  stored = _READERS[split_name(path)[1]](path, role, key)
  volume, name = stored.images, stored.key
  if volume.dtype.kind not in "fiubc" or volume.ndim not in (2, 3):
    found = f"{name} of type {volume.dtype} and shape {volume.shape}"
    raise UserError(path, found, "numbers (slices, rows, columns)", _REMEDY)
  is_complex = volume.dtype.kind == "c"
  if volume.dtype.kind in "fc" and not np.isfinite(volume).all():
    found = f"NaN or infinite values in {name}"
    raise UserError(path, found, "finite intensities", _REMEDY)
  if split_name(path)[1] in (*ENDINGS, ".npz", ".npy") and name != "volfs":
    layout.refuse_pairs(path, name, volume)
    layout.refuse_transposed(path, name, volume.shape)
  if volume.ndim == 2:
    volume = volume[None]
  elif name.startswith(_SLICES_LAST):
    volume = volume.transpose(2, 0, 1)
  return stored._replace(images=volume, is_complex=is_complex)


def _choose(path, there: Iterable[str], role, key, more=()) -> StoredVolume:
  """The array of a role, by its name alone."""
  there = sorted(there)
  targets = [name for name in (*IMAGE_KEYS, *more) if name in there]
  results = [RESULT] if RESULT in there else []
  inputs = [name for name in there if name.startswith(_INPUTS)]
  own, rest = (results, [*targets, *inputs])
  if role == TARGET:
    own, rest = targets, results
  if key:
    own = [key] if key in there else []
    rest = []
  if own:
    return StoredVolume(_NOTHING, own[0], tuple(own[1:]))
  if not rest:
    expected = key or " or ".join((RESULT, *IMAGE_KEYS, *more))
    raise UserError(path, f"the keys {', '.join(there) or 'none'}", expected)
  if len(rest) > 1:
    found = f"{', '.join(rest)} and no {RESULT}, so that it is open which one is meant"
    remedy = f"Name one of these arrays as {role}_key."
    raise UserError(path, found, f"the array {RESULT}, or one other", remedy)
  return StoredVolume(_NOTHING, rest[0], fits=rest[0] in more)


def _of_h5(path, role, key):
  with opened(path) as file:
    chosen = _choose(path, file, role, key)
    subject, units = (str(plain(file.attrs.get(n, ""))) for n in ("subject", "units"))
    images = h5_array(file, chosen.key)
    return chosen._replace(images=images, subject=subject, units=units)


def _of_npz(path, role, key):
  with opened_npz(path) as file:
    chosen = _choose(path, file, role, key, ("image",))
    return chosen._replace(images=npz_array(file, chosen.key))


def _of_mat(path, role, key):
  there = [name for name, shape in mat.shapes(path).items() if len(shape) in (2, 3)]
  only = there[0] if len(there) == 1 and not key else ""
  chosen = StoredVolume(_NOTHING, only)
  if not only:
    chosen = _choose(path, there, role, key, ("image",))
  (array,) = mat.read_mat(path, chosen.key)
  if array.ndim == 3 and not chosen.key.startswith(_SLICES_LAST):
    array = np.moveaxis(array, 2, 0)
  return chosen._replace(images=array)


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
  ".nii": lambda path, *_: StoredVolume(read_nifti(path)[0]),
  ".nii.gz": lambda path, *_: StoredVolume(read_nifti(path)[0]),
  ".npz": _of_npz,
  ".npy": lambda path, *_: StoredVolume(read_npy(path)),
  ".mat": _of_mat,
  ".cfl": lambda path, *_: StoredVolume(_of_cfl(path)),
}
FORMATS = tuple(_READERS)
