"""Simulates the measurements of slices outside of the steps of a training."""

import math
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from kdmri_jax.data.stored import is_stored
from kdmri_jax.training import batches
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of

_MOST = 2**29  # bytes that are kept
_AT_ONCE = 2**18  # pixels of the slices that are measured together


def simulate(
  slices: Slices, rows: np.ndarray, acquisition: Acquisition
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Some slices as `stage_networks.complete` measures them, several at a time.

  Args:
    slices: the slices.
    rows: the indices of those to measure.
    acquisition: how they are measured.

  Yields:
    Zero-filled images [B, H, W, C] and k-space [B, H, W], or of coils [B, K, H, W].
  """
  size = shape_of(slices)
  at_once = max(_AT_ONCE // math.prod(size), 1) if slices.sensitivities is None else 1
  for start in range(0, len(rows), at_once):
    some = rows[start : start + at_once]
    batch = batches.take(slices, np.resize(some, at_once))  # so all are of one shape
    zero_filled, kspace = jax.device_get(_measure(batch, acquisition))
    yield zero_filled[: len(some)], kspace[: len(some)]


@jax.jit
def _measure(slices, acquisition):
  batch = complete(slices, acquisition)
  return batch.zero_filled, batch.measurement.kspace


def keep(
  parts: Sequence[Slices], acquisitions: Mapping[Shape, Acquisition]
) -> tuple[Slices, ...]:
  """Adds zero-filled images and k-space, which `stage_networks.complete` then takes.

  The parts are returned as they are where k-space was measured, where coils are
  simulated, where there are several tasks, where slices are in files, and where the
  measurements would need too much memory.

  Args:
    parts: the whole set.
    acquisitions: how slices of each shape are measured.
  """
  arrays = [x for part in parts for x in jax.tree.leaves(part)]
  simulated = all(part.kspace is None and part.task is None for part in parts)
  coils = any(each.sensitivities is not None for each in acquisitions.values())
  stored = any(map(is_stored, arrays))
  if coils or stored or not simulated or _bytes(parts) > _MOST:
    return tuple(parts)
  return tuple(_kept(part, acquisitions[shape_of(part)]) for part in parts)


def _kept(part: Slices, acquisition: Acquisition) -> Slices:
  rows = np.arange(len(part.target))
  measured = zip(*simulate(part, rows, acquisition), strict=True)
  zero_filled, kspace = map(np.concatenate, measured)
  return part._replace(zero_filled=zero_filled, kspace=kspace)


def _bytes(parts: Sequence[Slices]) -> int:
  """What zero-filled images, as the targets, and complex k-space take."""
  images = (part.target for part in parts)
  return sum(x.nbytes + 8 * x.size // x.shape[-1] for x in images)
