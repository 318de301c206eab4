"""3x3 convolutions in C++, which XLA calls on a CPU.

Between many channels they need a quarter of a plain convolution's products (Winograd's
F(4x4, 3x3)). They include bias and ReLU, and all cores share one image. Arrays are of
float32 or bfloat16, sums of float32. CPUs that multiply bfloat16 do so between many
channels of such arrays, but not for gradients of kernels. They are built when the
package is installed, if there is a C++ compiler.
"""

import ctypes
import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp

from kdmri_jax.types import Array

# As setup.py names them, the best first.
INSTRUCTIONS = ("avx512bf16", "avx512", "avx2", "default")
# Channels supported by convolution.cc: up to _FEW, or multiples of _MANY up to _MOST.
_FEW, _MANY, _MOST = 2, 16, 1024
_CONVOLVE, _GRADIENT = "kdmri_convolve", "kdmri_convolution_gradient"
_ENDINGS = {jnp.dtype("float32"): "", jnp.dtype("bfloat16"): "_bfloat16"}


def runs(name: str) -> bool:
  """Whether the library for a set of `INSTRUCTIONS` was built and can be used here."""
  try:
    if not _load("default").kdmri_has(name.encode()):
      return False
    _register(name)
  except (OSError, RuntimeError, AttributeError):
    # Built for another system or release of jaxlib, or from an earlier version.
    return False
  return True


@functools.cache
def instructions() -> str | None:
  """The set of CPU instructions in use; None where nothing was built that runs."""
  return next(filter(runs, INSTRUCTIONS), None)


def knows(kernel: Array) -> bool:
  """Whether native code supports a kernel [K, K, I, O] and can be called.

  It must be of float32 or bfloat16 and 3x3, between multiples of 16 channels up to
  1024; one of the two sides may have one channel or two instead.
  """
  fewer, more = sorted(kernel.shape[2:])
  return (
    kernel.shape[:2] == (3, 3)
    and kernel.dtype in _ENDINGS
    and (fewer <= _FEW or fewer % _MANY == 0)
    and more % _MANY == 0
    and more <= _MOST
    and instructions() is not None
  )


def convolve(
  x: Array, kernel: Array, bias: Array, *, relu: bool, mask: Array | None = None
) -> Array:
  """relu(x * kernel + bias), or without the ReLU; zero-padded to the same size.

  Args:
    x: [B, H, W, I], float32 or bfloat16, as are all arrays.
    kernel: [3, 3, I, O], see `knows`.
    bias: [O].
    relu: whether a ReLU follows.
    mask: [B, H, W, I]; x counts as zero wherever it is not positive.

  Returns:
    [B, H, W, O].
  """
  result = jax.ShapeDtypeStruct((*x.shape[:3], kernel.shape[-1]), x.dtype)
  call = _call(_CONVOLVE, x.dtype, result)
  return call(x, _or_nothing(mask, x), kernel, bias, relu=relu)


def gradient(
  x: Array, cotangent: Array, mask: Array | None = None
) -> tuple[Array, Array]:
  """The gradients of `convolve` with respect to its kernel and bias.

  Args:
    x: [B, H, W, I], float32 or bfloat16, as are all arrays.
    cotangent: [B, H, W, O].
    mask: [B, H, W, O]; the cotangent counts as zero wherever it is not positive.

  Returns:
    [3, 3, I, O] and [O].
  """
  inputs, outputs = x.shape[-1], cotangent.shape[-1]
  kernel = jax.ShapeDtypeStruct((3, 3, inputs, outputs), x.dtype)
  bias = jax.ShapeDtypeStruct((outputs,), x.dtype)
  call = _call(_GRADIENT, x.dtype, (kernel, bias))
  return tuple(call(x, cotangent, _or_nothing(mask, x)))


def _or_nothing(mask, x):
  return jnp.zeros(0, x.dtype) if mask is None else mask


def _call(function, dtype, result):
  _register(instructions())
  name = f"{function}{_ENDINGS[dtype]}_{instructions()}"
  return jax.ffi.ffi_call(name, result, vmap_method="sequential")


@functools.cache
def _register(name: str) -> None:
  """Makes a library's functions known to XLA, as FUNCTION_NAME.

  Raises:
    RuntimeError: it was built for a later release of jaxlib, or CPUs are not in use.
  """
  jax.devices("cpu")  # otherwise JAX would raise the error later
  for start, ending in itertools.product((_CONVOLVE, _GRADIENT), _ENDINGS.values()):
    function = start + ending
    capsule = jax.ffi.pycapsule(getattr(_load(name), function))
    jax.ffi.register_ffi_target(f"{function}_{name}", capsule, platform="cpu")


@functools.cache
def _load(name: str) -> ctypes.CDLL:
  return ctypes.CDLL(str(pathlib.Path(__file__).with_name(f"convolution.{name}.so")))
