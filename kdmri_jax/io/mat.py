"""Arrays from MATLAB files of version 5 and of version 7.3, which is HDF5."""

import pathlib
import struct
import zlib

import h5py
import numpy as np
import scipy.sparse
from scipy import io

from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import h5_array, opened
from kdmri_jax.io.reading import reading, refuse_huge

_COMPRESSED = 15  # miCOMPRESSED of version 5
# Bytes of a value in memory; 8 for other classes.
_BYTES = {"logical": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2} | dict.fromkeys(
  ("single", "int32", "uint32"), 4
)


def read_mat(path: pathlib.Path, *names: str) -> list[np.ndarray]:
  """Reads arrays in MATLAB's order of axes.

  HDF5 has the reverse order of axes and no complex numbers, so version 7.3 stores
  transposed arrays and pairs of "real" and "imag"; this function converts both.

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
    read = _version_73 if h5py.is_hdf5(path) else _version_5
    arrays = read(path, names)
  for name in names:
    array = arrays.get(name)
    if array is None or array.dtype.kind not in "biufc":
      found = f"no array {name!r} (the variables are: {contents(path)})"
      remedy = "Copy the file again from the official data."
      raise UserError(path, found, f"a variable {name!r} of numbers", remedy)
  return [arrays[name] for name in names]


def contents(path: pathlib.Path) -> str:
  """The variables of a file and their shapes, such as "kspace (320, 256, 15)".

  Raises:
    UserError: the file is missing or damaged.
  """
  with reading(path), path.open("rb") as stream:
    if h5py.is_hdf5(path):
      with opened(path) as file:
        there = {key: (file[key].shape or ())[::-1] for key in _datasets(file)}
    else:
      there = {name: shape for name, shape, _ in io.whosmat(stream)}
  listed = (f"{name} {tuple(shape)}" for name, shape in sorted(there.items()))
  return ", ".join(listed) or "none"


def _version_5(path, names):
  _refuse_bomb(path)
  with path.open("rb") as stream:
    for name, shape, kind in io.whosmat(stream):
      if name in names:
        refuse_huge(path, shape, _BYTES.get(kind, 8), compressed=True)
    stream.seek(0)
    arrays = io.loadmat(stream, variable_names=names)
  return {key: _dense(array) for key, array in arrays.items()}


def _refuse_bomb(path) -> None:
  """Refuses variables that unpack to far more than the file; unpacks piece by piece."""
  size, total = path.stat().st_size, 0
  with path.open("rb") as file:
    head = file.read(128)
    order = "<" if head[126:128] == b"IM" else ">"
    while len(tag := file.read(8)) == 8 and head[126:128] in (b"IM", b"MI"):
      kind, count = struct.unpack(f"{order}II", tag)
      end = min(file.tell() + count, size)
      unpacker = zlib.decompressobj()
      while kind == _COMPRESSED and file.tell() < end and not unpacker.eof:
        packed = file.read(min(1 << 14, end - file.tell()))
        while packed and not unpacker.eof:
          total += len(unpacker.decompress(packed, 1 << 20))
          refuse_huge(path, (total,), 1, compressed=True, at_once=False)
          packed = unpacker.unconsumed_tail
      file.seek(end)


def _dense(array):
  """A sparse matrix as an array; SciPy does not check its indices when it reads it."""
  if not scipy.sparse.issparse(array):
    return array
  if array.format == "csc":
    array.check_format(full_check=True)
  return array.toarray()


def _version_73(path, names):
  with opened(path) as file:
    stored = {name: h5_array(file, name) for name in names if name in _datasets(file)}
  arrays = (np.ndarray, np.generic)  # text and null datasets are neither
  return {key: _joined(a).T for key, a in stored.items() if isinstance(a, arrays)}


def _datasets(file):
  return [key for key in file if isinstance(file[key], h5py.Dataset)]


def _joined(array):
  if array.dtype.names != ("real", "imag"):
    return array
  joined = np.empty(array.shape, np.result_type(array.dtype["real"], np.complex64))
  joined.real, joined.imag = array["real"], array["imag"]
  return joined
