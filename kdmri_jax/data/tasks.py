"""One set of slices, several tasks."""

import zlib
from collections.abc import Sequence

import numpy as np

from kdmri_jax.types import Slices


def assign(
  parts: Sequence[Slices], tasks: Sequence[int], *, count: int, noisy: bool, name: str
) -> tuple[Slices, ...]:
  """Every slice once for each task, without a copy of it.

  Args:
    parts: the slices of each shape as they are stored, without task.
    tasks: numbers of the tasks.
    count: how many tasks there are in all; with one, slices get no task.
    noisy: whether they get numbers to draw their noise by.
    name: of the set; each has noise of its own, the same in every run.

  Returns:
    For each part the slices in their order for the first task, then for the next, and
    so on: `task` and `draws` have a row for each, the other arrays begin anew for every
    task, see `training.batches.take`.
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
