"""Networks in XLA alone: convolutions in bands of rows, which use all cores of a CPU.

Exported networks run where the C++ code of this package cannot be called. There XLA
computes each operation on one core of a CPU, but independent operations in parallel. So
each convolution is one operation per band of the image, with the row above and the row
below, and each core takes the next one that is ready. Nothing is computed twice.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.models.cnn import CNN, PRECISIONS
from kdmri_jax.ops import convolution, xla
from kdmri_jax.types import Outputs

_MOST = 20  # bands; more take long to compile
_PIXELS = 2500  # of a band at least; smaller ones cost more than they gain


def apply(model: nn.Module, params: Any, *arguments: Any) -> Outputs:
  """`model.apply`, every `CNN` in it in bands on a CPU; sows nothing, calls no C++."""

  def layer_by_layer(params, *arguments):
    return model.apply({"params": params}, *arguments)

  def in_bands(params, *arguments):
    with nn.intercept_methods(_intercept):
      return layer_by_layer(params, *arguments)

  with convolution.xla_alone():
    return jax.lax.platform_dependent(
      params, *arguments, cpu=in_bands, default=layer_by_layer
    )


def _intercept(call, arguments, options, context):
  cnn = context.module
  if type(cnn) is not CNN or context.method_name != "__call__":
    return call(*arguments, **options)
  x = arguments[0]
  height, pixels = x.shape[1], x.shape[1] * x.shape[2]
  # The sizes are symbols in what is exported for any size.
  count = min(_MOST, height, pixels // _PIXELS) if isinstance(pixels, int) else 1
  return _convolve(cnn, x, count) if count > 1 else call(*arguments, **options)


def _convolve(cnn, x, count):
  """Computes the CNN in the given number of bands."""
  kind, height = PRECISIONS[cnn.precision].kind, x.shape[1]
  edges = [height * k // count for k in range(count + 1)]
  bands = [x[:, first:end] for first, end in itertools.pairwise(edges)]
  for k in range(1, cnn.convolutions + 1):
    layer = cnn.get_variable("params", f"conv_{k}")
    kernel, bias = layer["kernel"].astype(kind), layer["bias"]
    windows = _windows([band.astype(kind) for band in bands])
    bands = [xla.convolve_rows(window, kernel) for window in windows]
    if k < cnn.convolutions:
      bands = [nn.relu(band + bias.astype(kind)) for band in bands]
  return jnp.concatenate(bands, axis=1).astype(jnp.float32) + bias


def _windows(bands):
  """Each band with the row above and the row below, zeros beyond the image."""
  beyond = jnp.zeros_like(bands[0][:, :1])
  above = [beyond, *(band[:, -1:] for band in bands[:-1])]
  below = [*(band[:, :1] for band in bands[1:]), beyond]
  rows = zip(above, bands, below, strict=True)
  return [jnp.concatenate(parts, axis=1) for parts in rows]
