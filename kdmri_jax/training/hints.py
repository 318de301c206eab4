"""Computes the hints of a frozen teacher for a set of slices, once."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.training import batches
from kdmri_jax.training.objective import TEACHER_ERROR
from kdmri_jax.types import Slices


class TeacherOutputs(NamedTuple):
  """The teacher's outputs on a set of slices.

  Attributes:
    hints: for each part its `Slices.hints`; None where they do not fit in memory.
    error_range: largest minus smallest mean squared error of its images; 0 where it is
      not needed and the hints do not fit.
    needed: the hints' bytes; a lower bound where they do not fit.
  """

  hints: Any
  error_range: float
  needed: int


def collect(
  teach: Callable[[Slices], Any],
  parts: Sequence[Slices],
  batch_size: int,
  budget: int,
  kind: str,
  needs_errors: bool,
  check: Callable[[], None],
) -> TeacherOutputs:
  """Runs the teacher once over all slices; stops early where nothing more is needed.

  Args:
    teach: slices of a batch -> hints, pytree of arrays [B, ...].
    parts: the whole set.
    batch_size: slices per batch.
    budget: largest size of the hints in bytes; larger hints are not kept.
    kind: "float32", or "float16" to keep them in half the memory.
    needs_errors: whether the range of the errors is needed even then.
    check: called after each batch; raises to stop the run.

  Raises:
    UserError: a hint is too large for "float16".
  """
  kept: list[Any] = [None] * len(parts)
  counts = batches.counts(parts)
  order = batches.in_order(counts, batch_size, fill=True)
  needed = 0
  loaded = batches.load(parts, batches.shared(order))
  for (part, rows), slices in zip(order, loaded, strict=True):
    found = _kept_as(kind, jax.device_get(teach(slices)))
    count = counts[part]
    if kept[part] is None:
      needed += sum(x[:1].nbytes for x in jax.tree.leaves(found)) * count
    if needed > budget and not needs_errors:
      return TeacherOutputs(None, 0.0, needed)
    if needed > budget:
      found = {TEACHER_ERROR: found[TEACHER_ERROR]}
    if kept[part] is None:
      kept[part] = jax.tree.map(
        lambda x, n=count: np.empty((n, *x.shape[1:]), x.dtype), found
      )
    wholes = jax.tree.leaves({name: kept[part][name] for name in found})
    for whole, some in zip(wholes, jax.tree.leaves(found), strict=True):
      whole[rows] = some
    check()
  error_range = float(np.ptp(np.concatenate([hints[TEACHER_ERROR] for hints in kept])))
  return TeacherOutputs(tuple(kept) if needed <= budget else None, error_range, needed)


def rounded(found: dict[str, Any]) -> dict[str, Any]:
  """Hints in a step, as if `collect` had kept them as float16 and they were read again.

  Those that float16 cannot hold become infinite.
  """

  def rounded(path, hint):
    if not _is_rounded(path, hint):
      return hint
    # XLA may leave out a conversion to float16 and back. The smallest numbers of
    # float16 are multiples of 2^-24, which `reduce_precision` would make 0.
    small = jnp.round(hint * 2.0**24) * 2.0**-24
    others = jax.lax.reduce_precision(hint, exponent_bits=5, mantissa_bits=10)
    return jnp.where(jnp.abs(hint) < 2.0**-14, small, others)

  return jax.tree_util.tree_map_with_path(rounded, found)


def _is_rounded(path: Any, hint: Any) -> bool:
  """Whether half precision is for this part of the hints."""
  return path[0].key != TEACHER_ERROR and hint.dtype == np.float32


def _kept_as(kind: str, found: dict[str, Any]) -> dict[str, Any]:
  """Rounds hints to float16 if requested; the errors stay unchanged."""
  largest = np.finfo(np.float16).max

  def kept(path, hint):
    if kind == "float32" or not _is_rounded(path, hint):
      return hint
    if np.abs(hint).max() > largest:
      most, name = np.abs(hint).max(), path[0].key
      found = f"float16, and a hint of {most:.3g} for the term {name}"
      expected = f"hints of at most {largest:.5g}"
      remedy = "Set --config.teacher_cache_type=float32."
      raise UserError("config.teacher_cache_type", found, expected, remedy)
    return hint.astype(np.float16)

  return jax.tree_util.tree_map_with_path(kept, found)
