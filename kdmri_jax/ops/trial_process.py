"""The process that tries a kind of convolution on a GPU, see `ops.trial`.

It reads kinds from its standard input, a line of JSON each, and answers with a line. It
ends when nobody has asked for a minute.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdmri_jax import json_text
from kdmri_jax.ops import layer
from kdmri_jax.ops.trial import Kind

_PATIENCE = 60.0  # seconds without a question
_CALLS, _ROUNDS = 4, 30  # calls of one program, and how often it runs
_SIZES = {False: (64, 128), True: (256, 512)}  # rows, columns of small and large images
_ODD = 2, 37, 43  # images for the comparison of numbers, no multiples of a block
# Largest difference of the numbers, relative to the largest of them.
_AGREEMENT = {"float32": 2e-5, "tensorfloat32": 5e-3, "bfloat16": 3e-2}


def main() -> None:
  """Answers until there are no more questions."""
  with os.fdopen(os.dup(1), "w") as answers:
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    has_gpu = jax.default_backend() == "gpu"
    while select.select([sys.stdin], [], [], _PATIENCE)[0]:
      if not (line := sys.stdin.readline()):
        return
      kind = Kind(*json_text.loads(line))
      found = answer(kind) if has_gpu else {"failure": "its process has no GPU"}
      print(json_text.dumps(found), file=answers, flush=True)


def answer(kind: Kind) -> dict[str, Any]:
  """What a trial finds.

  Returns:
    "share", the time of Pallas in that of XLA; or the "difference" of numbers that do
    not agree, relative to the largest; or an "error".
  """
  try:
    return _try(kind)
  except Exception as error:  # a compiler may raise anything
    return {"error": f"{type(error).__name__}: {error}"}


def _try(kind: Kind) -> dict[str, Any]:
  ways = [
    _way(kind, layer.forward_by_xla, layer.backward_by_xla),
    _way(kind, layer.forward_by_pallas, layer.backward_by_pallas),
  ]
  small = _draw(kind, _ODD)
  difference = _difference(*(jax.device_get(jax.jit(way)(*small)) for way in ways))
  if not np.isfinite(difference):
    return {"error": "its numbers are not finite"}
  if difference > _AGREEMENT[kind.products]:
    return {"difference": difference}
  images = 1, *_SIZES[kind.large]
  calls = jax.device_put([_draw(kind, images, seed) for seed in range(_CALLS)])
  xla, pallas = least_seconds(ways, calls)
  return {"share": pallas / xla}


def _way(
  kind: Kind, forward: Callable[..., Any], backward: Callable[..., Any]
) -> Callable[..., Any]:
  """What is compared: the result and, in training, the gradients.

  Their ReLU's mask is an argument: where the result is nearly 0 it depends on rounding.
  """
  low = kind.products == "tensorfloat32"
  precision = jax.lax.Precision.HIGH if low else jax.lax.Precision.HIGHEST

  def compute(x, kernel, bias, y, cotangent):
    found = [forward(x, kernel, bias, relu=kind.relu, precision=precision)]
    if kind.training:
      mask = y if kind.relu else None
      found += backward(cotangent, x, kernel, mask, precision=precision)
    return found

  return compute


def _draw(kind: Kind, images: Sequence[int], seed: int = 0) -> tuple[Any, ...]:
  """Random arguments of `_way`, on the host."""
  rng = np.random.default_rng(seed)
  dtype = jnp.bfloat16 if kind.products == "bfloat16" else jnp.float32
  x, y, cotangent = (
    rng.normal(size=(*images, channels)).astype(dtype)
    for channels in (kind.inputs, kind.outputs, kind.outputs)
  )
  kernel = rng.normal(size=(3, 3, kind.inputs, kind.outputs)).astype(dtype)
  bias = rng.normal(size=kind.outputs).astype(dtype)
  return x, kernel, bias, np.maximum(y, 0), cotangent


def _difference(expected: Sequence[Any], found: Sequence[Any]) -> float:
  """The largest of all arrays, each relative to its largest number; may be NaN."""
  pairs = zip(expected, found, strict=True)
  exact = ((np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs)
  return float(np.max([np.abs(a - b).max() / np.abs(a).max() for a, b in exact]))


def least_seconds(
  ways: Sequence[Callable[..., Any]], calls: Sequence[Any]
) -> list[float]:
  """The least time of a program with these calls, of each way; they take turns."""
  programs = [
    jax.jit(lambda calls, way=way: [way(*own) for own in calls]) for way in ways
  ]
  for program in programs:
    jax.block_until_ready(program(calls))
  times: list[list[float]] = [[] for _ in programs]
  for _ in range(_ROUNDS):
    for program, own in zip(programs, times, strict=True):
      start = time.perf_counter()
      jax.block_until_ready(program(calls))
      own.append(time.perf_counter() - start)
  return [min(own) for own in times]
