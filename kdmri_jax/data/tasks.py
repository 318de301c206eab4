"""One set of slices, several tasks."""

import zlib
from collections.abc import Sequence

import numpy as np

from kdmri_jax.types import Slices


def assign(
  slices: Slices, tasks: Sequence[int], *, count: int, noisy: bool, name: str
) -> Slices:
  """Every slice once for each task.

  Args:
    slices: as they are stored, without task.
    tasks: numbers of the tasks.
    count: how many tasks there are in all; with one, slices get no task.
    noisy: whether they get numbers to draw their noise by.
    name: of the set; each has noise of its own, the same in every run.

  Returns:
    The slices in their order for the first task, then for the next, and so on.
  """
  length = len(slices.target)
  if count > 1:
    slices = Slices(*(_repeat(x, len(tasks)) for x in slices))
    slices = slices._replace(task=np.repeat(np.int32(tasks), length))
  if noisy:
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    draws = generator.integers(2**32, size=(count, length), dtype=np.uint32)
    slices = slices._replace(draws=draws[list(tasks)].ravel())
  return slices


def _repeat(array, times: int):
  return None if array is None else np.concatenate([array] * times)
