"""What is timed, and the numbers that all frameworks are given."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
  """One row of the table.

  Attributes:
    what: "inference" (k-space to image) or "training" (one step).
    stage: the stage that is trained, or whose network reconstructs.
    height: rows of the images.
    width: columns.
    batch: images at a time.
    cached: whether a teacher's hints are given instead of computed in every step.
  """

  what: str
  stage: str
  height: int
  width: int
  batch: int
  cached: bool = False

  @property
  def name(self) -> str:
    """As it is shown in tables."""
    cached = ", teacher cached" if self.cached else ""
    return f"{self.stage}{cached}, {self.height}x{self.width}, batch {self.batch}"


class Problem(NamedTuple):
  """Weights, images and what should come out of them, as NumPy arrays.

  Attributes:
    params: role ("teacher" or "student") -> cascade -> convolution -> "kernel",
      [K, K, I, O], and "bias", [O].
    target: fully sampled images, float32 [B, H, W, 1].
    kspace: complex64 [B, H, W].
    mask: [H, W].
    zero_filled: float32 [B, H, W, 1].
    expected: the image that inference gives, [B, H, W, 1], or the losses of the first
      two training steps, [2].
  """

  params: Mapping[str, Any]
  target: np.ndarray
  kspace: np.ndarray
  mask: np.ndarray
  zero_filled: np.ndarray
  expected: np.ndarray


def save(path: pathlib.Path, problem: Problem) -> None:
  """Writes a problem for the other frameworks' processes."""
  arrays = {f"params/{key}": value for key, value in _flat(problem.params).items()}
  rest = {key: value for key, value in problem._asdict().items() if key != "params"}
  np.savez(path, **arrays, **rest)


def load(path: pathlib.Path) -> Problem:
  """Reads what `save` wrote."""
  params, rest = {}, {}
  with np.load(path) as file:
    for key, array in file.items():
      *path_to, name = key.split("/")
      if not path_to:
        rest[name] = array
        continue
      inner = params
      for part in path_to[1:]:
        inner = inner.setdefault(part, {})
      inner[name] = array
  return Problem(params, **rest)


def _flat(tree, prefix=""):
  found = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      found |= _flat(value, f"{prefix}{key}/")
    else:
      found[f"{prefix}{key}"] = np.asarray(value)
  return found


def operations(params: Mapping[str, Any], case: Case) -> int:
  """Floating-point operations of a network's convolutions, forward, written out.

  A multiplication and an addition for each weight of a kernel and each pixel. A
  training step takes about three times as many: forward, and two gradients.

  Args:
    params: of one network.
    case: size and number of the images.
  """
  weights = sum(
    math.prod(array.shape)
    for key, array in _flat(params).items()
    if key.endswith("kernel")
  )
  return 2 * weights * case.height * case.width * case.batch
