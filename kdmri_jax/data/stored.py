"""Slices that stay in their files until they are read."""

import dataclasses
import pathlib
import types
from collections.abc import Callable, Sequence
from typing import Any

import h5py
import numpy as np

from kdmri_jax.data import digests
from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import reading
from kdmri_jax.optional import require


@dataclasses.dataclass(frozen=True, eq=False)
class StoredArray:
  """An array [N, ...] whose rows are in h5 files; indexing reads them.

  Attributes:
    files: the files.
    key: the dataset in each of them.
    digests: digests of the dataset's rows, for each file.
    places: number of the file and row of its dataset, int [N, 2].
    raw: type in which rows are read.
    shape: of the array.
    dtype: of its values.
    convert: converts rows from the files to rows of the array.
  """

  files: tuple[pathlib.Path, ...]
  key: str
  digests: tuple[tuple[str, ...], ...]
  places: np.ndarray
  raw: np.dtype
  shape: tuple[int, ...]
  dtype: np.dtype
  convert: Callable[[np.ndarray], np.ndarray]

  def __len__(self) -> int:
    return self.shape[0]

  @property
  def ndim(self) -> int:
    """Number of axes."""
    return len(self.shape)

  @property
  def nbytes(self) -> int:
    """Bytes that the array would need in memory."""
    return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

  def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
    """Reads rows.

    Raises:
      UserError: a file is missing, damaged or has changed since it was prepared.
    """
    places = self.places[index]
    rows = np.empty((len(places), *self.shape[1:3]), self.raw)
    for number in np.unique(places[:, 0]):
      path, here = self.files[number], np.flatnonzero(places[:, 0] == number)
      with reading(path), h5py.File(path) as file:
        for k in here:
          row = file[self.key][places[k, 1]]
          self._check(row, number, places[k, 1])
          rows[k] = row
    return self.convert(rows)

  def _check(self, row: np.ndarray, number: int, slice_number: int) -> None:
    if digests.of_slices(row[None])[0] != self.digests[number][slice_number]:
      found = f"slice {slice_number} of {self.key!r}, which has changed since"
      expected = "the file as `kdmri prepare` wrote it"
      raise UserError(self.files[number], found, expected, "Prepare the data again.")

  def select(self, index: slice) -> "StoredArray":
    """Some of the rows, without reading them."""
    places = self.places[index]
    shape = (len(places), *self.shape[1:])
    return dataclasses.replace(self, places=places, shape=shape)


def of_file(
  path: pathlib.Path, dataset: h5py.Dataset, found: tuple[str, ...]
) -> StoredArray:
  """A whole dataset [S, H, W] of an open file, with the digests of its slices."""
  places = np.stack([np.zeros(len(dataset), int), np.arange(len(dataset))], axis=1)
  return StoredArray(
    files=(path,),
    key=dataset.name.lstrip("/"),
    digests=(found,),
    places=places,
    raw=dataset.dtype,
    shape=dataset.shape,
    dtype=dataset.dtype,
    convert=_as_it_is,
  )


def join(
  arrays: Sequence[StoredArray], convert: Callable[[np.ndarray], np.ndarray]
) -> StoredArray:
  """Arrays of one file each, one after the other.

  Args:
    arrays: from `of_file`, all of one key and slice shape; where only some of them
      are complex, rows of the others are read as complex numbers, too.
    convert: applied to rows [n, ...] after reading.
  """
  shifts = [np.array([k, 0]) for k in range(len(arrays))]
  places = np.concatenate([a.places + s for a, s in zip(arrays, shifts, strict=True)])
  first, raw = arrays[0], np.result_type(*(array.raw for array in arrays))
  form = convert(np.zeros((1, *first.shape[1:]), raw))
  return StoredArray(
    files=tuple(array.files[0] for array in arrays),
    key=first.key,
    digests=tuple(array.digests[0] for array in arrays),
    places=places,
    raw=raw,
    shape=(len(places), *form.shape[1:]),
    dtype=form.dtype,
    convert=convert,
  )


def require_grain() -> types.ModuleType:
  """The package that reads ahead.

  Raises:
    UserError: it is not installed.
  """
  purpose = "slices that stay in their files"
  return require("grain", "data", "memory_mb", purpose, ", or raise memory_mb")


def is_stored(array: Any) -> bool:
  """Whether an array's values are still in their files."""
  return isinstance(array, StoredArray)


def _as_it_is(rows: np.ndarray) -> np.ndarray:
  return rows
