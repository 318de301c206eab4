"""A convolution with bias and ReLU, and its gradients, by XLA and by Pallas."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.ops import xla
from kdmri_jax.types import Array

Gradients = tuple[Array, Array, Array]  # of x, kernel and bias


def pallas() -> Any:
  """`ops.pallas`, imported where it is used: not every jaxlib has Triton."""
  return importlib.import_module("kdmri_jax.ops.pallas")


def forward_by_xla(
  x: Array, kernel: Array, bias: Array, relu: bool, precision: jax.lax.Precision
) -> Array:
  """The result; see `convolution.convolve`."""
  convolved = xla.convolve(x, kernel, precision) + bias
  return nn.relu(convolved) if relu else convolved


def forward_by_pallas(
  x: Array, kernel: Array, bias: Array, relu: bool, precision: jax.lax.Precision
) -> Array:
  """The same."""
  return pallas().convolve(x, kernel, bias, relu=relu, precision=precision)


def backward_by_xla(
  cotangent: Array,
  x: Array,
  kernel: Array,
  y: Array | None,
  precision: jax.lax.Precision,
) -> Gradients:
  """The gradients.

  Args:
    cotangent: of the result, [B, H, W, O].
    x: as for `convolution.convolve`.
    kernel: likewise.
    y: the result where a ReLU follows, else None.
    precision: as for `convolution.convolve`.
  """
  if y is not None:
    # Not y > 0: XLA would compare the input of the ReLU instead, and store it, too.
    cotangent = jnp.where(y != 0, cotangent, 0)
  return (
    xla.input_gradient(cotangent, kernel, precision),
    xla.kernel_gradient(x, cotangent, len(kernel), precision),
    _sum_of_pixels(cotangent),
  )


def _sum_of_pixels(x: Array) -> Array:
  """Each channel's sum, by way of sums of rows: GPUs sum few columns slowly."""
  rows = x.reshape(-1, x.shape[2] * x.shape[3]).sum(0)
  return rows.reshape(x.shape[2:]).sum(0)


def backward_by_pallas(
  cotangent: Array,
  x: Array,
  kernel: Array,
  y: Array | None,
  precision: jax.lax.Precision,
) -> Gradients:
  """The same."""
  code, zeros = pallas(), jnp.zeros(x.shape[-1:], x.dtype)
  options = {"mask": y, "precision": precision}
  for_x = code.convolve(cotangent, kernel, zeros, relu=False, turned=True, **options)
  return for_x, *code.gradient(x, cotangent, **options)
