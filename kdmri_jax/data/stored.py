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
from kdmri_jax.io.h5 import opened
from kdmri_jax.optional import require


@dataclasses.dataclass(frozen=True, eq=False)
class StoredArray:
  """An array [N, ...] whose rows are in h5 files; indexing reads them.

  Attributes:
    files: the files, whose rows follow each other.
    key: the dataset in each of them.
    digests: digests of the dataset's rows, for each file.
    raw: type in which rows are read.
    row: shape of each in the files.
    shape: of the array.
    dtype: of its values.
    convert: converts rows from the files to rows of the array.
  """

  files: tuple[pathlib.Path, ...]
  key: str
  digests: tuple[tuple[str, ...], ...]
  raw: np.dtype
  row: tuple[int, ...]
  shape: tuple[int, ...]
  dtype: np.dtype
  convert: Callable[[np.ndarray], np.ndarray] = lambda rows: rows

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
    """Reads rows.

    Raises:
      UserError: a file is missing, damaged or has changed since it was prepared.
    """
    numbers = np.arange(len(self))[index]
    rows = np.empty((len(numbers), *self.row), self.raw)
    ends = np.cumsum(list(map(len, self.digests)))
    owners = np.searchsorted(ends, numbers, side="right")
    for owner in np.unique(owners):
      path, known = self.files[owner], self.digests[owner]
      with opened(path) as file:
        for k in np.flatnonzero(owners == owner):
          number = numbers[k] - ends[owner] + len(known)
          row = file[self.key][number]
          if digests.of_slices(row[None])[0] != known[number]:
            raise changed(path, f"slice {number} of {self.key!r}")
          rows[k] = row
    return self.convert(rows)


def changed(path: pathlib.Path, what: str) -> UserError:
  """The error for a part of a prepared file that is not as written."""
  expected = "the file as `kdmri prepare` wrote it"
  found = f"{what}, which has changed since"
  return UserError(path, found, expected, "Prepare the data again.")


def of_file(
  path: pathlib.Path, dataset: h5py.Dataset, found: tuple[str, ...]
) -> StoredArray:
  """A whole dataset [S, ...] of an open file, with the digests of its slices."""
  key, kind, shape = dataset.name.lstrip("/"), dataset.dtype, dataset.shape
  return StoredArray((path,), key, (found,), kind, shape[1:], shape, kind)


def join(
  arrays: Sequence[StoredArray], convert: Callable[[np.ndarray], np.ndarray]
) -> StoredArray:
  """Arrays of one file each, one after the other.

  Args:
    arrays: from `of_file`, all of one key and slice shape; where only some of them
      are complex, rows of the others are read as complex numbers, too.
    convert: applied to rows [n, ...] after reading.
  """
  raw = np.result_type(*(array.raw for array in arrays))
  form = convert(np.zeros((1, *arrays[0].shape[1:]), raw))
  return StoredArray(
    files=tuple(file for array in arrays for file in array.files),
    key=arrays[0].key,
    digests=tuple(known for array in arrays for known in array.digests),
    raw=raw,
    row=arrays[0].shape[1:],
    shape=(sum(map(len, arrays)), *form.shape[1:]),
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
