"""What a frozen teacher computes for a set of slices, once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from kdmri_jax.distillation.combine import TEACHER_ERROR
from kdmri_jax.training import batches
from kdmri_jax.types import Slices


class Taught(NamedTuple):
  """The teacher's outputs on a set of slices.

  Attributes:
    hints: for `Slices.hints`; None where they do not fit in memory.
    error_range: largest minus smallest mean squared error of its images; 0 where
      nobody needs it and the hints do not fit.
    needed: bytes that the hints take.
  """

  hints: Any
  error_range: float
  needed: int

  @property
  def bytes(self) -> int:
    """Bytes that are held."""
    return self.needed if self.hints is not None else 0


def collect(
  teach: Callable[[Slices], Any],
  slices: Slices,
  batch_size: int,
  budget: int,
  needs_errors: bool,
  check: Callable[[], None],
) -> Taught:
  """Runs the teacher once over all slices, as far as that serves.

  Args:
    teach: slices of a batch -> hints, pytree of arrays [B, ...].
    slices: the whole set.
    batch_size: slices a batch.
    budget: bytes that the hints may take; beyond it they are not kept.
    needs_errors: whether the range of the errors is wanted even then.
    check: called after each batch; raises where the run is to stop.
  """
  count, kept, needed = len(slices.target), None, 0
  for indices in batches.in_order(count, batch_size, fill=True):
    part = jax.device_get(teach(batches.take(slices, indices)))
    if kept is None:
      needed = sum(x[:1].nbytes for x in jax.tree.leaves(part)) * count
    if needed > budget and not needs_errors:
      return Taught(None, 0.0, needed)
    if needed > budget:
      part = {TEACHER_ERROR: part[TEACHER_ERROR]}
    if kept is None:
      kept = jax.tree.map(lambda x: np.empty((count, *x.shape[1:]), x.dtype), part)
    for whole, rows in zip(jax.tree.leaves(kept), jax.tree.leaves(part), strict=True):
      whole[indices] = rows
    check()
  error_range = float(np.ptp(kept[TEACHER_ERROR]))
  return Taught(kept if needed <= budget else None, error_range, needed)
