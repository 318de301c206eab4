"""One set of slices, several tasks."""

import zlib
from collections.abc import Sequence

import numpy as np

from kdmri_jax.types import Slices


def assign(
  parts: Sequence[Slices], tasks: Sequence[int], *, count: int, noisy: bool, name: str
) -> tuple[Slices, ...]:
  """Every slice once per task, without copies.

  Args:
    parts: the stored slices, see `slice_set.SliceSet`, without task.
    tasks: indices of the tasks.
    count: total number of tasks; with one, slices get no task.
    noisy: whether they get noise seeds.
    name: of the set; each set has different noise, the same in every run.

  Returns:
    For each part the slices in order for the first task, then for the next, and so on:
    `task` and `draws` have one row per slice and task, the other arrays one per slice,
    see `training.batches.take`.
  """
  generator = np.random.default_rng(zlib.crc32(name.encode()))
  found = []
  for slices in parts:
    length = len(slices.target)
    if count > 1:
      slices = slices._replace(task=np.repeat(np.int32(tasks), length))
    if noisy:
      draws = generator.integers(2**32, size=(count, length), dtype=np.uint32)
      slices = slices._replace(draws=draws[list(tasks)].ravel())
    found.append(slices)
  return tuple(found)
