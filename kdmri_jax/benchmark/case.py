"""The timed cases, and the input numbers that all frameworks share."""

import math
import pathlib
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
  """One row of the table.

  Attributes:
    what: "inference" (k-space to image) or "training" (one step).
    stage: the stage that is trained, or whose network reconstructs.
    height: rows of the images.
    width: columns.
    batch: number of images.
    cached: whether a teacher's hints are given instead of computed in every step.
    precision: of the networks' convolutions, see `models.cnn.PRECISIONS`; "" for the
      experiment's.
  """

  what: str
  stage: str
  height: int
  width: int
  batch: int
  cached: bool = False
  precision: str = ""

  @property
  def name(self) -> str:
    """The name in tables."""
    cached = ", teacher cached" if self.cached else ""
    size = f", {self.height}x{self.width}, batch {self.batch}"
    precision = f", {self.precision}" if self.precision not in ("", "float32") else ""
    return f"{self.stage}{cached}{size}{precision}"


class Runner(NamedTuple):
  """A way to run a case.

  Attributes:
    run: runs the case once; returns when it has finished.
    deviation: of its numbers from the expected ones.
    times: repetitions per call: training steps in one dispatch.
    on_cpu: whether it uses the host's memory alone.
  """

  run: Callable[[], Any]
  deviation: float = 0.0
  times: int = 1
  on_cpu: bool = True


class Problem(NamedTuple):
  """Weights, images and expected results, as NumPy arrays.

  Attributes:
    params: role ("teacher" or "student") -> cascade -> convolution -> "kernel",
      [K, K, I, O], and "bias", [O].
    target: fully sampled images, float32 [B, H, W, 1].
    kspace: complex64 [B, H, W].
    mask: [H, W].
    zero_filled: float32 [B, H, W, 1].
    expected: the image that inference gives, [B, H, W, 1], or the losses of the first
      two training steps, [2].
    times: training steps per call.
  """

  params: Mapping[str, Any]
  target: np.ndarray
  kspace: np.ndarray
  mask: np.ndarray
  zero_filled: np.ndarray
  expected: np.ndarray
  times: int = 1


def save(path: pathlib.Path, problem: Problem) -> None:
  """Writes a problem for the other frameworks' processes."""
  path.write_bytes(pickle.dumps(problem))


def load(path: pathlib.Path) -> Problem:
  """Reads a problem that `save` wrote."""
  return pickle.loads(path.read_bytes())


def onnx_inputs(problem: Problem, slices: slice = slice(None)) -> dict[str, np.ndarray]:
  """The inputs of the exported ONNX file for some slices of a problem."""
  kspace = problem.kspace[slices]
  parts = np.stack([kspace.real, kspace.imag], axis=1)
  return {"kspace": parts, "mask": problem.mask.astype(np.uint8)}


def operations(params: Mapping[str, Any], case: Case) -> int:
  """Floating-point operations of a network's plain convolutions, forward.

  One multiplication and one addition per weight of a kernel and pixel. A training step
  takes about three times as many: forward, and two gradients.

  Args:
    params: of one network.
    case: size and number of the images.
  """
  weights = sum(map(math.prod, _kernels(params)))
  return 2 * weights * case.height * case.width * case.batch


def traffic(params: Mapping[str, Any], case: Case) -> int:
  """Bytes that a network's convolutions read and write, forward.

  Each reads its input and writes its output once, in the case's precision. A training
  step moves about three times as many.

  Args:
    params: of one network.
    case: size and number of the images.
  """
  channels = sum(inputs + outputs for *_, inputs, outputs in _kernels(params))
  size = 2 if case.precision == "bfloat16" else 4
  return size * channels * case.height * case.width * case.batch


def _kernels(params: Mapping[str, Any]) -> Iterator[tuple[int, ...]]:
  """The shapes of all kernels."""
  for key, value in params.items():
    if isinstance(value, Mapping):
      yield from _kernels(value)
    elif key == "kernel":
      yield value.shape
