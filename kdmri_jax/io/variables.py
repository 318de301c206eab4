"""One named array of a file that may hold several: .mat, h5, .npz and .npy."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io import h5, mat
from kdmri_jax.io.numpy_files import npz_array, npz_shapes, opened_npz, read_npy
from kdmri_jax.io.reading import split_name

ENDINGS = (".mat", *h5.ENDINGS, ".npz", ".npy")


def read_variable(path: pathlib.Path, name: str = "") -> tuple[np.ndarray, str]:
  """Reads one array.

  Args:
    path: a file with one of `ENDINGS`; the order of axes is that of the program that
      writes such files, so MATLAB's also for version 7.3.
    name: of the array; "" takes the only one of two axes or more. .npy has no names.

  Returns:
    The array of numbers, and its name; "" for .npy.

  Raises:
    UserError: the file is damaged, there is no such array, or several may be meant.
  """
  ending = split_name(path)[1]
  if ending == ".npy":
    if name:
      remedy = "Leave the variable empty for such files."
      raise UserError(
        path, f"no array {name!r}: .npy has no names", "one array", remedy
      )
    return read_npy(path), ""
  there = _SHAPES.get(ending, _shapes_h5)(path)
  if not name:
    fitting = [key for key, shape in there.items() if _is_image(shape)]
    if len(fitting) > 1:
      found = f"several arrays: {_listed(there)}"
      raise UserError(path, found, "one, or its name", "Name one as variable.")
    name = fitting[0] if fitting else ""
  if name not in there:
    found = f"no array {name!r}" if name else "no array of two axes or more"
    found += f" (the arrays are: {_listed(there)})"
    remedy = "Name one as variable."
    if ending == ".mat":
      remedy += " What is in a struct must be saved on its own (im = S.im)."
    raise UserError(path, found, "an array of numbers", remedy)
  array = _READERS.get(ending, _read_h5)(path, name)
  if array.dtype.kind not in "biufc":
    found = f"{name!r} of type {array.dtype}"
    raise UserError(path, found, "an array of numbers", "Name another as variable.")
  return array, name


def _is_image(shape: tuple[int, ...]) -> bool:
  return sum(size > 1 for size in shape) > 1


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
  return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"


def _shapes_h5(path):
  found: dict[str, tuple[int, ...]] = {}

  def add(name: str, part: Any) -> None:
    if not isinstance(part, h5py.Dataset):
      return
    if part.dtype.kind in "biufc" or h5.is_pair(part.dtype):
      found[name] = part.shape or ()

  with h5.opened(path) as file:
    file.visititems(add)
  return found


def _shapes_npz(path):
  with opened_npz(path) as file:
    return npz_shapes(file)


def _read_h5(path, name):
  with h5.opened(path) as file:
    return h5.h5_array(file, name)


def _read_npz(path, name):
  with opened_npz(path) as file:
    return npz_array(file, name)


_SHAPES: dict[str, Callable] = {".mat": mat.shapes, ".npz": _shapes_npz}
_READERS: dict[str, Callable] = {
  ".mat": lambda path, name: mat.read_mat(path, name)[0],
  ".npz": _read_npz,
}
