"""Arrays of several coils, row by row: in memory, or in a temporary file."""

import dataclasses
import tempfile
import weakref
from collections.abc import Callable, Iterator

import numpy as np

from kdmri_jax.saving import saving


class Spooling:
  """Collects rows of one shape and type in a temporary file.

  The file has no name: the system removes it as soon as it is closed.
  """

  def __init__(self) -> None:
    self._folder = tempfile.gettempdir()
    with saving(self._folder):
      self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the next line)
    weakref.finalize(self, self._file.close)
    self._count, self._form = 0, np.empty(0)

  def add(self, row: np.ndarray) -> None:
    """Adds a row.

    Raises:
      UserError: the disk is full.
    """
    with saving(self._folder):
      self._file.write(np.ascontiguousarray(row).data)
      self._file.flush()
    self._count, self._form = self._count + 1, np.empty(row.shape, row.dtype)

  def row(self, number: int) -> np.ndarray:
    """Reads a row."""
    row = np.empty_like(self._form)
    self._file.seek(number * row.nbytes)
    self._file.readinto(row.data)
    return row

  def array(self) -> "Spool":
    """The array of all rows, of which there is one or more."""
    shape = (self._count, *self._form.shape)
    return Spool(self.row, range(self._count), shape, self._form.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Spool:
  """An array [N, C, H, W] whose rows are read from a temporary file.

  Attributes:
    row: reads one by its number.
    numbers: of the rows that belong to the array.
    shape: of the array.
    dtype: of its values.
  """

  row: Callable[[int], np.ndarray]
  numbers: range
  shape: tuple[int, ...]
  dtype: np.dtype

  def __len__(self) -> int:
    return len(self.numbers)

  def __iter__(self) -> Iterator[np.ndarray]:
    return map(self.row, self.numbers)

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    return np.stack([self.row(self.numbers[k]) for k in rows])

  @property
  def nbytes(self) -> int:
    """The memory that the whole array needs."""
    return int(np.prod(self.shape)) * self.dtype.itemsize


def each(
  array: np.ndarray | Spool, rows: slice, function: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray | Spool:
  """Some rows of an array, each converted; of a spool when they are read.

  Args:
    array: [N, C, H, W].
    rows: which ones.
    function: from one row to another of the array's type.
  """
  if not isinstance(array, Spool):
    return np.stack([function(row) for row in array[rows]])
  stored, numbers = array.row, array.numbers[rows]
  form = function(np.zeros(array.shape[1:], array.dtype))
  shape = (len(numbers), *form.shape)
  return Spool(lambda number: function(stored(number)), numbers, shape, array.dtype)


def in_memory(array: np.ndarray | Spool) -> np.ndarray:
  """The whole array, read where it is spooled."""
  return np.stack(list(array)) if isinstance(array, Spool) else array
