"""Where the Pallas kernels are used: a trial on the GPU at hand decides.

When a program with convolutions is traced on a machine with an NVIDIA GPU, each kind of
convolution that the kernels know is computed by XLA and by Pallas, once alone and once
with its gradients. Pallas is used where its numbers agree with XLA's and it takes at
most `_SHARE` of the time. The decisions are kept beside the compiled programs, so a
later process needs no trial and traces the same programs. Several processes that train
together use XLA alone, because each would decide for itself.
"""

import concurrent.futures
import functools
import os
import pathlib
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from kdmri_jax import json_text
from kdmri_jax.errors import UserError
from kdmri_jax.ops import layer
from kdmri_jax.saving import replacing
from kdmri_jax.types import Array

_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_FILE = "gpu_trials.json"
_SHARE = 0.95  # of XLA's time: less would be chance
_CALLS, _ROUNDS = 4, 10  # calls of one program, and how often it runs
_LARGE = 2**15  # pixels of all images
_SIZES = {False: (64, 128), True: (256, 512)}  # rows, columns: for small and large ones
_ODD = 2, 37, 43  # images for the comparison of numbers, no multiples of a block
# Largest difference of the numbers, relative to the largest of them.
_AGREEMENT = {"float32": 2e-5, "tensorfloat32": 5e-3, "bfloat16": 3e-2}


class Kind(NamedTuple):
  """What a decision holds for.

  Attributes:
    training: whether the gradients belong to it.
    inputs: channels.
    outputs: channels.
    products: "float32", "tensorfloat32" or "bfloat16".
    relu: whether a ReLU follows.
    large: whether the images have `_LARGE` pixels or more in all.
  """

  training: bool
  inputs: int
  outputs: int
  products: str
  relu: bool
  large: bool

  def __str__(self) -> str:
    relu = " with ReLU" if self.relu else ""
    what = "training" if self.training else "inference"
    return (
      f"{what}, {self.inputs}->{self.outputs}{relu}, {self.products}, "
      f"{'large' if self.large else 'small'}"
    )


def faster(
  x: Array, kernel: Array, relu: bool, precision: jax.lax.Precision, *, training: bool
) -> bool:
  """Whether this machine's GPU uses Pallas for a convolution.

  Args:
    x: images [B, H, W, I], also traced ones.
    kernel: [K, K, I, O], likewise.
    relu: whether a ReLU follows.
    precision: of float32 products.
    training: whether the gradients are needed, too.

  Returns:
    False where there is no such GPU or several processes train.
  """
  gpu = _gpu()
  if gpu is None or not _knows(kernel):
    return False
  products = "bfloat16" if x.dtype == jnp.bfloat16 else "float32"
  if products == "float32" and precision == jax.lax.Precision.HIGH:
    products = "tensorfloat32"
  large = x.size // x.shape[-1] >= _LARGE
  inputs, outputs = kernel.shape[2:]
  return _decision(gpu, Kind(training, inputs, outputs, products, relu, large))


def _gpu() -> jax.Device | None:
  """An NVIDIA GPU of this process, if it is what JAX computes with."""
  if jax.default_backend() != "gpu" or jax.process_count() > 1:
    return None
  device = jax.local_devices()[0]
  return device if "cuda" in device.client.platform_version.lower() else None


def _knows(kernel: Array) -> bool:
  try:
    return layer.pallas().knows(kernel)
  except (ImportError, AttributeError):  # a jaxlib without Triton, or with another
    return False


@functools.cache
def _decision(gpu: jax.Device, kind: Kind) -> bool:
  """Whether Pallas computes a kind: as in the file of earlier decisions, or tried."""
  known = _Decisions(gpu)
  if (decided := known.get(kind)) is not None:
    return decided
  try:
    # In a thread of its own: this one may be tracing a program.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
      decided = thread.submit(_is_faster, kind, gpu).result()
  except Exception as error:  # a compiler may raise anything
    logging.warning("Pallas cannot compute %s: %s. XLA does.", kind, error)
    return False
  known.keep(kind, decided)
  return decided


def _is_faster(kind: Kind, gpu: jax.Device) -> bool:
  ways = [
    _way(kind, layer.forward_by_xla, layer.backward_by_xla),
    _way(kind, layer.forward_by_pallas, layer.backward_by_pallas),
  ]
  small = jax.device_put(_draw(kind, _ODD), gpu)
  found = [jax.device_get(jax.jit(way)(*small)) for way in ways]
  if not _agree(*found, most=_AGREEMENT[kind.products]):
    logging.warning("Pallas computes other numbers for %s. XLA's are used.", kind)
    return False
  images = 1, *_SIZES[kind.large]
  calls = jax.device_put([_draw(kind, images, seed) for seed in range(_CALLS)], gpu)
  xla, pallas = (_seconds(way, calls) for way in ways)
  logging.info("%s: Pallas takes %.2f of XLA's time", kind, pallas / xla)
  return pallas <= _SHARE * xla


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


def _agree(expected: Any, found: Any, *, most: float) -> bool:
  def agree(a, b):
    a, b = (np.asarray(each, np.float64) for each in (a, b))
    return bool(np.abs(a - b).max() <= most * np.abs(a).max())  # not for NaN

  return all(map(agree, jax.tree.leaves(expected), jax.tree.leaves(found)))


def _seconds(way: Callable[..., Any], calls: Sequence[Any]) -> float:
  """The least time of a program with these calls."""
  program = jax.jit(lambda calls: [way(*own) for own in calls])
  jax.block_until_ready(program(calls))
  times = []
  for _ in range(_ROUNDS):
    start = time.perf_counter()
    jax.block_until_ready(program(calls))
    times.append(time.perf_counter() - start)
  return min(times)


class _Decisions:
  """The file of earlier decisions, for this kind of GPU and these versions."""

  def __init__(self, gpu: jax.Device):
    folder = os.environ.get(_FOLDER, "")
    self._path = pathlib.Path(folder) / _FILE if folder else None
    code = pathlib.Path(layer.__file__).with_name("pallas.py").read_bytes()
    self._key = f"{gpu.device_kind}, jax {jax.__version__}, {zlib.crc32(code):08x}"

  def get(self, kind: Kind) -> bool | None:
    """The decision on a kind, None where there is none."""
    decided = self._read().get(self._key, {}).get(str(kind))
    return decided if isinstance(decided, bool) else None

  def keep(self, kind: Kind, decided: bool) -> None:
    """Writes a decision, if there is a folder that can be written."""
    if self._path is None or not self._path.parent.is_dir():
      return
    everything = self._read()
    everything.setdefault(self._key, {})[str(kind)] = decided
    try:
      with replacing(self._path) as path:
        path.write_text(json_text.dumps(everything, indent=1), encoding="utf-8")
    except UserError as error:
      logging.info("%s; the trial is repeated in the next process", error)

  def _read(self) -> dict[str, dict[str, Any]]:
    try:
      found = {}
      if self._path:
        found = json_text.loads(self._path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
      return {}
    is_ours = isinstance(found, dict) and all(map(_is_dict, found.values()))
    return found if is_ours else {}


def _is_dict(value: Any) -> bool:
  return isinstance(value, dict)
