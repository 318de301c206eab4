"""Inference of chains of convolutions in bands of rows, which all cores of a CPU share.

XLA computes each operation on one core of a CPU, but operations that do not need each
other at the same time. So each convolution is one operation for each band of the image,
with the row above and the row below, and each core takes the next one that is ready.
Nothing is computed twice.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.models import convolution
from kdmri_jax.models.cnn import CNN
from kdmri_jax.types import Outputs

_MOST = 20  # bands; more take long to compile
_PIXELS = 2500  # of a band at least; smaller ones cost more than they gain


def apply(model: nn.Module, params, *arguments, **options) -> Outputs:
  """`model.apply` with every `CNN` in it computed in bands on a CPU; sows nothing.

  It takes some seconds more to compile: for what is run often, or is waited for.
  """
  with nn.intercept_methods(_intercept):
    return model.apply({"params": params}, *arguments, **options)


def _intercept(call, arguments, options, context):
  cnn = context.module
  if type(cnn) is not CNN or context.method_name != "__call__":
    return call(*arguments, **options)
  names = [f"conv_{k}" for k in range(1, cnn.convolutions + 1)]
  layers = [cnn.get_variable("params", name) for name in names]
  kind = jnp.dtype(cnn.precision)
  kernels = [layer["kernel"].astype(kind) for layer in layers]
  biases = [layer["bias"] for layer in layers]
  return jax.lax.platform_dependent(
    arguments[0], kernels, biases, cpu=_in_bands, default=_layer_by_layer
  )


def _layer_by_layer(x, kernels, biases):
  for k, (kernel, bias) in enumerate(zip(kernels, biases, strict=True), start=1):
    x = convolution.convolve(x.astype(kernel.dtype), kernel)
    x = _finish(x, bias, last=k == len(kernels))
  return x


def _in_bands(x, kernels, biases):
  height, pixels = x.shape[1], x.shape[1] * x.shape[2]
  # The sizes are symbols in what is exported for any size.
  count = min(_MOST, height, pixels // _PIXELS) if isinstance(pixels, int) else 1
  if count < 2:
    return _layer_by_layer(x, kernels, biases)
  edges = [height * k // count for k in range(count + 1)]
  bands = [x[:, first:end] for first, end in itertools.pairwise(edges)]
  for k, (kernel, bias) in enumerate(zip(kernels, biases, strict=True), start=1):
    bands = [
      _finish(
        convolution.convolve_rows(window.astype(kernel.dtype), kernel),
        bias,
        last=k == len(kernels),
      )
      for window in _windows(bands)
    ]
  return jnp.concatenate(bands, axis=1)


def _windows(bands):
  """Each band with the row above and the row below, zeros beyond the image."""
  beyond = jnp.zeros_like(bands[0][:, :1])
  above = [beyond, *(band[:, -1:] for band in bands[:-1])]
  below = [*(band[:, :1] for band in bands[1:]), beyond]
  rows = zip(above, bands, below, strict=True)
  return [jnp.concatenate(parts, axis=1) for parts in rows]


def _finish(x, bias, *, last):
  """Bias and, but for the last layer, ReLU: in the types of `CNN`."""
  return x.astype(jnp.float32) + bias if last else nn.relu(x + bias.astype(x.dtype))
