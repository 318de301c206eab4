"""Which slices make which batch."""

from collections.abc import Iterator

import jax
import numpy as np

from kdmri_jax.types import Slices


def steps_per_epoch(count: int, batch_size: int) -> int:
  """Batches that visit every slice at least once."""
  return -(-count // batch_size)


def epoch_order(count: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
  """The slices of each step of an epoch.

  Every slice comes once; the last batch is filled up from the epoch's beginning.
  The order depends on the arguments only.

  Returns:
    int [steps, batch_size].
  """
  order = np.random.default_rng([seed, epoch]).permutation(count)
  return _fill(order, batch_size)


def in_order(
  count: int, batch_size: int, *, fill: bool = False
) -> Iterator[np.ndarray]:
  """Batches of indices in the stored order.

  Args:
    count: number of slices.
    batch_size: slices a batch.
    fill: whether the last batch, where it is smaller, is filled up from the start.
  """
  order = np.arange(count)
  if fill:
    yield from _fill(order, batch_size)
  else:
    yield from np.split(order, range(batch_size, count, batch_size))


def take(slices: Slices, indices: np.ndarray) -> Slices:
  """The slices with these indices."""
  return jax.tree.map(lambda x: x[indices], slices)


def _fill(order: np.ndarray, batch_size: int) -> np.ndarray:
  steps = steps_per_epoch(len(order), batch_size)
  return np.resize(order, (steps, batch_size))
