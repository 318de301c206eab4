"""Inference time of the compared networks, repeated and paired."""

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np


def measure(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict:
  """Times each network `repeats` times, in turn, so that other load affects all.

  Args:
    runs: model -> a call that reconstructs one slice; compiled by an earlier call.
    repeats: number of repetitions.

  Returns:
    Model -> seconds, float64 [repeats].
  """
  for run in runs.values():
    jax.block_until_ready(run())
  seconds = {name: np.zeros(repeats) for name in runs}
  for k in range(repeats):
    for name, run in runs.items():
      begin = time.perf_counter()
      jax.block_until_ready(run())
      seconds[name][k] = time.perf_counter() - begin
  return seconds
