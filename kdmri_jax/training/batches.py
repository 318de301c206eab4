"""Divides slices into batches.

A set of slices has one part per slice shape and number of coils; all slices of a batch
are of one part.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from kdmri_jax.data.stored import is_stored, require_grain
from kdmri_jax.training import processes
from kdmri_jax.types import Slices

_THREADS, _AHEAD = 4, 8  # reader threads, and batches that they read ahead
_BYTES = 2**28  # of batches read ahead, at most


class Rows(NamedTuple):
  """The slices of a batch: the index of their part, and their rows in it, int [B]."""

  part: int
  rows: np.ndarray


def counts(parts: Sequence[Slices]) -> tuple[int, ...]:
  """The number of slices of each part; a slice counts once per task."""
  return tuple(
    len(slices.target if slices.task is None else slices.task) for slices in parts
  )


def steps_per_epoch(counts: Iterable[int], batch_size: int) -> int:
  """Batches that visit every slice of every part at least once."""
  return sum(-(-count // batch_size) for count in counts)


def epoch_order(
  counts: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[Rows]:
  """The batches of an epoch.

  Every slice comes once. The last batch of a part is filled up with slices from the
  part's beginning; a part of one slice gives a batch of copies. The order depends only
  on the arguments.
  """
  generator = np.random.default_rng([seed, epoch])
  order = [
    Rows(part, rows)
    for part, count in enumerate(counts)
    for rows in _fill(generator.permutation(count), batch_size)
  ]
  if len(counts) > 1:
    order = [order[k] for k in generator.permutation(len(order))]
  return order


def in_order(
  counts: Sequence[int], batch_size: int, *, fill: bool = False
) -> list[Rows]:
  """Batches in stored order.

  Args:
    counts: number of slices of each part.
    batch_size: slices per batch.
    fill: whether a part's last batch, where it is smaller, is filled up from its start.
  """
  order = []
  for part, count in enumerate(counts):
    rows = np.arange(count)
    split = np.split(rows, range(batch_size, count, batch_size))
    order += [Rows(part, r) for r in (_fill(rows, batch_size) if fill else split)]
  return order


def group(order: Sequence[Rows], start: int, size: int) -> list[Sequence[Rows]]:
  """Groups the batches of an epoch into dispatches.

  Groups of `size` begin at its multiples, so an epoch that is resumed after a dispatch
  continues with the same ones. The last group of an epoch may be smaller. The batches
  of a group that has begun, or is not of one part, are dispatched one by one.

  Args:
    order: all batches of the epoch.
    start: number of completed batches.
    size: batches per dispatch, at least 1.
  """
  groups: list[Sequence[Rows]] = []
  for first in range(start - start % size, len(order), size):
    whole = order[first : first + size]
    if first >= start and len({batch.part for batch in whole}) == 1:
      groups.append(whole)
    else:
      groups += [[batch] for batch in whole[max(start - first, 0) :]]
  return groups


def alike(order: Iterable[Rows]) -> list[Sequence[Rows]]:
  """Groups of consecutive batches of one part and one size."""
  groups = itertools.groupby(order, lambda batch: (batch.part, len(batch.rows)))
  return [list(group) for _, group in groups]


def shared(order: Iterable[Rows]) -> list[Rows]:
  """This process's part of each batch, where several train together."""
  return [batch._replace(rows=processes.share(batch.rows)) for batch in order]


def take(slices: Slices, rows: np.ndarray) -> Slices:
  """These rows of a part; arrays with fewer rows are repeated."""
  return jax.tree.map(lambda x: x[rows % len(x)], slices)


def load(parts: Sequence[Slices], order: Sequence[Rows]) -> Iterator[Slices]:
  """The batches of an order; those that lie in files are read ahead by threads.

  Raises:
    UserError: a file cannot be read any more, or has changed.
  """

  def batch(chosen: Rows) -> Slices:
    return take(parts[chosen.part], chosen.rows)

  if not any(map(is_stored, jax.tree.leaves(parts))):
    yield from map(batch, order)
    return
  grain = require_grain()
  size = max((_bytes(parts[each.part], len(each.rows)) for each in order), default=1)
  ahead = max(1, min(_AHEAD, _BYTES // size))
  options = grain.ReadOptions(
    num_threads=min(_THREADS, ahead), prefetch_buffer_size=ahead
  )
  yield from grain.MapDataset.source(order).map(batch).to_iter_dataset(options)


def _bytes(slices: Slices, count: int) -> int:
  """The memory of some slices."""
  arrays = jax.tree.leaves(slices)
  return count * sum(int(np.prod(x.shape[1:])) * x.dtype.itemsize for x in arrays)


def _fill(order: np.ndarray, batch_size: int) -> np.ndarray:
  steps = steps_per_epoch([len(order)], batch_size)
  return np.resize(order, (steps, batch_size))
