"""A convolution with bias and ReLU, and its gradients, each by the fastest code.

On a CPU most of these networks' convolutions are computed in C++ (`native`), the others
by forms that are fast in XLA (`ops.xla`). Exports use only the latter. On NVIDIA's GPUs
`pallas` is used where a trial finds it faster than XLA (`ops.trial`). All agree to
float32 rounding.

KDMRI_GPU_CONVOLUTIONS in the environment may be "xla" or "pallas" in place of "auto":
then there is no trial.
"""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdmri_jax.errors import UserError
from kdmri_jax.ops import layer, native, trial, xla
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
  own = _Own() if _xla_alone.get() else _own_code(kernel)
  return _convolve(x, kernel, bias, relu, own, precision)


class _Own(NamedTuple):
  """Where code of this package may be used.

  Attributes:
    on_cpu: whether a CPU uses `native`.
    on_gpu: "auto", "pallas" or "xla".
  """

  on_cpu: bool = False
  on_gpu: str = "xla"


def _own_code(kernel):
  on_gpu = os.environ.get(GPU, "auto")
  if on_gpu not in ("auto", "pallas", "xla"):
    remedy = f"Unset {GPU} for whichever is faster."
    raise UserError(GPU, repr(on_gpu), '"auto", "pallas" or "xla"', remedy)
  return _Own(native.knows(kernel), on_gpu)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _convolve(x, kernel, bias, relu, own, precision):
  return _layer(x, kernel, bias, relu, own, precision, training=False)


def _layer(x, kernel, bias, relu, own, precision, *, training):
  options = {"relu": relu, "precision": precision}
  return _choose(
    _platforms(own, x, kernel, **options, training=training),
    functools.partial(_forward_by_native, relu=relu),
    functools.partial(layer.forward_by_pallas, **options),
    functools.partial(_forward_by_xla, **options),
    *(x, kernel, bias),
  )


def _forward(x, kernel, bias, relu, own, precision):
  y = _layer(x, kernel, bias, relu, own, precision, training=True)
  return y, (x, kernel, y if relu else None)


def _backward(relu, own, precision, saved, cotangent):
  x, kernel, _ = saved
  return _choose(
    _platforms(own, x, kernel, relu, precision, training=True),
    _backward_by_native,
    functools.partial(layer.backward_by_pallas, precision=precision),
    functools.partial(_backward_by_xla, precision=precision),
    *(cotangent, *saved),
  )


# Functions of `jax.jit` are traced once for layers of equal shapes; inlined, they leave
# the same program.
_inlined = functools.partial(jax.jit, inline=True)
_forward_by_xla = _inlined(layer.forward_by_xla, static_argnames=("relu", "precision"))
_backward_by_xla = _inlined(layer.backward_by_xla, static_argnames=("precision",))
_forward_by_native = _inlined(native.convolve, static_argnames=("relu",))


@_inlined
def _backward_by_native(cotangent, x, kernel, y):
  zeros = jnp.zeros(x.shape[-1:], x.dtype)
  for_x = native.convolve(cotangent, xla.turned(kernel), zeros, relu=False, mask=y)
  return for_x, *native.gradient(x, cotangent, mask=y)


def _platforms(own, x, kernel, relu, precision, *, training):
  """The platforms that use code of this package."""
  if own.on_gpu == "auto":
    by_pallas = trial.faster(x, kernel, relu, precision, training=training)
  else:
    by_pallas = own.on_gpu == "pallas" and layer.pallas().knows(kernel)
  return ["cpu"] * own.on_cpu + ["cuda"] * by_pallas


def _choose(own, by_native, by_pallas, by_xla, *arguments):
  ways = {"cpu": by_native, "cuda": by_pallas}
  ways = {platform: ways[platform] for platform in own}
  if not ways:
    return by_xla(*arguments)
  return jax.lax.platform_dependent(*arguments, **ways, default=by_xla)


_convolve.defvjp(_forward, _backward)
