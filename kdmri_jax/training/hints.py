"""What a frozen teacher computes for a set of slices, once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from kdmri_jax.distillation.combine import TEACHER_ERROR
from kdmri_jax.training import batches
from kdmri_jax.types import Slices


class Taught(NamedTuple):
  """The teacher's outputs on a set of slices.

  Attributes:
    hints: for each part its `Slices.hints`; None where they do not fit in memory.
    error_range: largest minus smallest mean squared error of its images; 0 where
      nobody needs it and the hints do not fit.
    needed: bytes that the hints take, at least, where they do not fit.
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
  parts: Sequence[Slices],
  batch_size: int,
  budget: int,
  needs_errors: bool,
  check: Callable[[], None],
) -> Taught:
  """Runs the teacher once over all slices, as far as that serves.

  Args:
    teach: slices of a batch -> hints, pytree of arrays [B, ...].
    parts: the whole set.
    batch_size: slices a batch.
    budget: bytes that the hints may take; beyond it they are not kept.
    needs_errors: whether the range of the errors is wanted even then.
    check: called after each batch; raises where the run is to stop.
  """
  kept: list[Any] = [None] * len(parts)
  counts = batches.counts(parts)
  order = batches.in_order(counts, batch_size, fill=True)
  needed = 0
  for (part, rows), slices in zip(order, batches.load(parts, order), strict=True):
    found, count = jax.device_get(teach(slices)), counts[part]
    if kept[part] is None:
      needed += sum(x[:1].nbytes for x in jax.tree.leaves(found)) * count
    if needed > budget and not needs_errors:
      return Taught(None, 0.0, needed)
    if needed > budget:
      found = {TEACHER_ERROR: found[TEACHER_ERROR]}
    if kept[part] is None:
      kept[part] = jax.tree.map(
        lambda x, n=count: np.empty((n, *x.shape[1:]), x.dtype), found
      )
    for name, hints in found.items():
      wholes = jax.tree.leaves(kept[part][name])
      for whole, some in zip(wholes, jax.tree.leaves(hints), strict=True):
        whole[rows] = some
    check()
  error_range = float(np.ptp(np.concatenate([hints[TEACHER_ERROR] for hints in kept])))
  return Taught(tuple(kept) if needed <= budget else None, error_range, needed)
