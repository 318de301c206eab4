"""The machine's own speed at the moment: matrix products and copies."""

import concurrent.futures
import functools
import platform
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from kdmri_jax.benchmark.case import Case, Runner
from kdmri_jax.models.cnn import PRECISIONS
from kdmri_jax.training import parallel

_SIZE, _NUMBERS = 2048, 2**26
OPERATIONS = 2 * _SIZE**3
BYTES = 2 * 4 * _NUMBERS  # read and written
_LARGER = 4  # rows and columns of the matrices, and numbers, on an accelerator


def describe() -> dict:
  """A description of the machine."""
  return {
    "processor": platform.processor() or platform.machine(),
    "cores": parallel.cores(),
    "device": jax.devices()[0].device_kind,
    "platform": jax.default_backend(),
    "python": platform.python_version(),
    "numpy": np.__version__,
  }


def prepare(case: Case) -> Mapping[str, Callable[[], Runner]]:
  """The two measurements, of all of the CPU's cores or of the accelerator.

  Returns:
    "matmul": a product of `OPERATIONS` operations, on an accelerator in the case's
    precision; "copy": moves `BYTES` bytes.
  """
  if jax.default_backend() == "cpu":
    return {"matmul": _matmul_on_cpu, "copy": _copy_on_cpu}
  precision = case.precision or "float32"
  return {"matmul": functools.partial(_matmul, precision), "copy": _copy}


def _matmul_on_cpu():
  a = np.random.default_rng(0).random((_SIZE, _SIZE), np.float32)
  out = a @ a
  return Runner(lambda: np.matmul(a, a, out=out))


def _copy_on_cpu():
  source = np.ones(_NUMBERS, np.float32)
  cores, target = parallel.cores(), source.copy()
  pairs = list(zip(*(np.array_split(x, cores) for x in (target, source)), strict=True))
  pool = concurrent.futures.ThreadPoolExecutor(cores)
  return Runner(lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs)))


def _matmul(precision: str):
  kind, products = PRECISIONS[precision]
  size = _SIZE * _LARGER
  a = np.random.default_rng(0).random((size, size), np.float32)
  product = functools.partial(jnp.matmul, precision=products)
  return _on_device(lambda a: product(a, a), jnp.asarray(a, kind), _LARGER**3)


def _copy():
  return _on_device(lambda x: -x, jnp.ones(_NUMBERS * _LARGER, jnp.float32), _LARGER)


def _on_device(function, argument, times):
  function = jax.jit(function)
  jax.block_until_ready(function(argument))
  run = functools.partial(lambda x: jax.block_until_ready(function(x)), argument)
  return Runner(run, times=times, on_cpu=False)
