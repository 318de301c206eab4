"""Arrays from MATLAB files of versions 4 and 5, and of version 7.3, which is HDF5."""

import pathlib

import h5py
import numpy as np
import scipy

from kdmri_jax.errors import UserError
from kdmri_jax.io import mat5
from kdmri_jax.io.h5 import h5_array, opened
from kdmri_jax.io.reading import reading, refuse_huge


def read_mat(path: pathlib.Path, *names: str) -> list[np.ndarray]:
  """Reads arrays in MATLAB's order of axes.

  HDF5 has the reverse order of axes, so version 7.3 stores transposed arrays.

  Args:
    path: the file.
    names: of the variables; others are not read.

  Returns:
    The arrays in the order of the names.

  Raises:
    UserError: the file is missing or damaged, or a variable is missing or not an array
      of numbers.
  """
  with reading(path):
    if h5py.is_hdf5(path):
      arrays = _version_73(path, names)
    elif mat5.is_version_5(path):
      _, arrays = mat5.read(path, names)
    else:
      arrays = _version_4(path, names)
  for name in names:
    array = arrays.get(name)
    if array is None or array.dtype.kind not in "biufc":
      found = f"no array {name!r} (the variables are: {contents(path)})"
      remedy = "Copy the file again from the official data."
      raise UserError(path, found, f"a variable {name!r} of numbers", remedy)
  return [arrays[name] for name in names]


def shapes(path: pathlib.Path) -> dict[str, tuple[int, ...]]:
  """The variables of a file and their shapes, sorted by name.

  Raises:
    UserError: the file is missing or damaged.
  """
  with reading(path):
    if h5py.is_hdf5(path):
      with opened(path) as file:
        there = {key: (file[key].shape or ())[::-1] for key in _datasets(file)}
    elif mat5.is_version_5(path):
      there, _ = mat5.read(path)
    else:
      there = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
  return {name: tuple(shape) for name, shape in sorted(there.items())}


def contents(path: pathlib.Path) -> str:
  """The variables of a file and their shapes in words; errors as `shapes`."""
  there = (f"{name} {shape}" for name, shape in shapes(path).items())
  return ", ".join(there) or "none"


def _version_4(path, names):
  for name, shape, _ in scipy.io.whosmat(path):
    if name in names:
      refuse_huge(path, shape, 8, compressed=True)
  arrays = scipy.io.loadmat(path, variable_names=names)
  return {key: _dense(array) for key, array in arrays.items() if key in names}


def _dense(array):
  return array.toarray() if scipy.sparse.issparse(array) else array


def _version_73(path, names):
  with opened(path) as file:
    stored = {name: h5_array(file, name) for name in names if name in _datasets(file)}
  arrays = (np.ndarray, np.generic)  # text and null datasets are neither
  return {key: a.T for key, a in stored.items() if isinstance(a, arrays)}


def _datasets(file):
  return [key for key in file if isinstance(file[key], h5py.Dataset)]
