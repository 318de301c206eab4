"""What the machine itself can do at the moment: matrix products and copies."""

import os
import platform

import jax
import jax.numpy as jnp
import numpy as np

_SIZE = 2048
OPERATIONS = 2 * _SIZE**3
BYTES = 2 * 4 * 2**26  # read and written


def start(config) -> dict:
  """The machine, in words."""
  del config
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
  return {
    "processor": platform.processor() or platform.machine(),
    "cores": cores or os.cpu_count(),
    "device": jax.devices()[0].device_kind,
    "python": platform.python_version(),
    "numpy": np.__version__,
  }


def prepare(case, file) -> dict:
  """The two measurements, of the CPU's cores or of the accelerator.

  Returns:
    "matmul": a float32 product of `OPERATIONS` operations; "copy": moves `BYTES` bytes,
    on a CPU with one core.
  """
  del case, file
  return {"matmul": _matmul, "copy": _copy}


def _matmul():
  a = np.random.default_rng(0).random((_SIZE, _SIZE), np.float32)
  if jax.default_backend() == "cpu":
    out = a @ a
    return lambda: np.matmul(a, a, out=out), 0.0
  return _on_device(lambda a: jnp.matmul(a, a, precision="highest"), a)


def _copy():
  source = np.ones(2**26, np.float32)
  if jax.default_backend() == "cpu":
    out = source.copy()
    return lambda: np.copyto(out, source), 0.0
  return _on_device(jnp.copy, source)


def _on_device(function, argument):
  function, argument = jax.jit(function), jax.device_put(argument)
  jax.block_until_ready(function(argument))
  return lambda: jax.block_until_ready(function(argument)), 0.0
