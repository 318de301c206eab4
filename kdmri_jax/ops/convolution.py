"""A convolution with bias and ReLU, and its gradients, each by the fastest code.

On a CPU most of these networks' convolutions are computed in C++ (`native`), the others
by forms that are fast in XLA (`ops.xla`). Exports use only the latter. On NVIDIA's GPUs
XLA's own are used, or `pallas` where the variable KDMRI_GPU_CONVOLUTIONS says so. All
agree to float32 rounding.
"""

import contextlib
import contextvars
import functools
import importlib
import os
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.errors import UserError
from kdmri_jax.ops import native, xla
from kdmri_jax.types import Array

GPU = "KDMRI_GPU_CONVOLUTIONS"  # of the environment

_xla_alone = contextvars.ContextVar("xla_alone", default=False)


@contextlib.contextmanager
def xla_alone() -> Iterator[None]:
  """Within this context functions are traced for XLA alone, so they run elsewhere.

  JAX does not trace a function again that `jax.jit` has traced before: pass a new one.
  """
  token = _xla_alone.set(True)
  try:
    yield
  finally:
    _xla_alone.reset(token)


def convolve(
  x: Array,
  kernel: Array,
  bias: Array | None = None,
  relu: bool = False,
  precision: jax.lax.Precision = jax.lax.Precision.HIGHEST,
) -> Array:
  """Convolves, zero-padded to the same size; first derivatives in reverse mode.

  Args:
    x: [B, H, W, I].
    kernel: [K, K, I, O], K odd, of the type of x.
    bias: [O], of the type of x, or None for zeros.
    relu: whether a ReLU follows.
    precision: of float32 products on accelerators, also in gradients; CPUs have one.

  Returns:
    [B, H, W, O], of the type of x.

  Raises:
    UserError: the environment names an unknown code for GPUs.
  """
  if bias is None:
    bias = jnp.zeros(kernel.shape[-1:], x.dtype)
  own = () if _xla_alone.get() else _own_code(kernel)
  return _convolve(x, kernel, bias, relu, own, precision)


def _own_code(kernel):
  """The platforms that have code of this package for such a kernel."""
  on_gpu = os.environ.get(GPU, "xla")
  if on_gpu not in ("pallas", "xla"):
    remedy = f"Unset {GPU} for XLA's own convolutions."
    raise UserError(GPU, repr(on_gpu), '"pallas" or "xla"', remedy)
  platforms = ["cpu"] if native.knows(kernel) else []
  if on_gpu == "pallas" and _pallas().knows(kernel):
    platforms.append("cuda")
  return tuple(platforms)


def _pallas():
  """Imported where it is used: not every jaxlib has Triton."""
  return importlib.import_module("kdmri_jax.ops.pallas")


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _convolve(x, kernel, bias, relu, own, precision):
  def by_xla(x, kernel, bias):
    convolved = xla.convolve(x, kernel, precision) + bias
    return nn.relu(convolved) if relu else convolved

  def by_pallas(x, kernel, bias):
    return _pallas().convolve(x, kernel, bias, relu=relu, precision=precision)

  by_native = functools.partial(native.convolve, relu=relu)
  return _choose(own, by_native, by_pallas, by_xla, x, kernel, bias)


def _forward(x, kernel, bias, relu, own, precision):
  y = _convolve(x, kernel, bias, relu, own, precision)
  return y, (x, kernel, y if relu else None)


def _backward(relu, own, precision, saved, cotangent):
  def by_xla(cotangent, x, kernel, y):
    if relu:
      # Not y > 0: XLA would compare the input of the ReLU instead, and store it, too.
      cotangent = jnp.where(y != 0, cotangent, 0)
    return (
      xla.input_gradient(cotangent, kernel, precision),
      xla.kernel_gradient(x, cotangent, len(kernel), precision),
      cotangent.sum((0, 1, 2)),
    )

  def by_native(cotangent, x, kernel, y):
    zeros = jnp.zeros(x.shape[-1:], x.dtype)
    for_x = native.convolve(cotangent, xla.turned(kernel), zeros, relu=False, mask=y)
    return for_x, *native.gradient(x, cotangent, mask=y)

  def by_pallas(cotangent, x, kernel, y):
    zeros = jnp.zeros(x.shape[-1:], x.dtype)
    options = {"mask": y, "precision": precision}
    turned = {"relu": False, "turned": True}
    for_x = _pallas().convolve(cotangent, kernel, zeros, **turned, **options)
    return for_x, *_pallas().gradient(x, cotangent, **options)

  x, kernel, y = saved
  return _choose(own, by_native, by_pallas, by_xla, cotangent, x, kernel, y)


def _choose(own, by_native, by_pallas, by_xla, *arguments):
  ways = {"cpu": by_native, "cuda": by_pallas}
  ways = {platform: ways[platform] for platform in own}
  if not ways:
    return by_xla(*arguments)
  return jax.lax.platform_dependent(*arguments, **ways, default=by_xla)


_convolve.defvjp(_forward, _backward)
