"""Simulates the measurements of a set of slices once, where all steps have the same."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from kdmri_jax.data.stored import is_stored
from kdmri_jax.training import batches
from kdmri_jax.types import Slices

_MOST = 2**29  # bytes that are kept


def keep(
  measure: Callable[[Slices], tuple[Any, Any]],
  parts: Sequence[Slices],
  batch_size: int,
) -> tuple[Slices, ...]:
  """Adds zero-filled images and k-space, which `stage_networks.complete` then takes.

  The parts are returned as they are where k-space was measured, where there are several
  tasks, where slices are in files, and where the measurements would need too much
  memory.

  Args:
    measure: slices of a batch -> zero-filled images [B, H, W, C] and k-space [B, H, W].
    parts: the whole set.
    batch_size: slices per batch.
  """
  arrays = [x for part in parts for x in jax.tree.leaves(part)]
  simulated = all(part.kspace is None and part.task is None for part in parts)
  if not simulated or any(map(is_stored, arrays)) or _bytes(parts) > _MOST:
    return tuple(parts)
  found: list[list[Any]] = [[] for _ in parts]
  order = batches.in_order(batches.counts(parts), batch_size, fill=True)
  for part, rows in order:
    found[part].append(jax.device_get(measure(batches.take(parts[part], rows))))
  return tuple(
    part._replace(**_joined(some, len(part.target)))
    for part, some in zip(parts, found, strict=True)
  )


def _joined(found, count):
  zero_filled, kspace = (np.concatenate(x)[:count] for x in zip(*found, strict=True))
  return {"zero_filled": zero_filled, "kspace": kspace}


def _bytes(parts: Sequence[Slices]) -> int:
  """What zero-filled images, as the targets, and complex k-space take."""
  images = (part.target for part in parts)
  return sum(x.nbytes + 8 * x.size // x.shape[-1] for x in images)
