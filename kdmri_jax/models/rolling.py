"""Inference of chains of convolutions in a window that rolls down the image.

Layer by layer, what a layer gives goes to memory and comes back for the next one. Here
each layer takes a few rows at a time, together with the last ones of those before, and
hands its own rows on while they are in the core's cache. Nothing is computed twice.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.models import convolution
from kdmri_jax.models.cnn import CNN
from kdmri_jax.types import Array, Outputs

_PIXELS = 4000  # in a window, so that the rows of all its channels stay in the cache


def apply(model: nn.Module, params, *arguments, **options) -> Outputs:
  """`model.apply` with every `CNN` in it computed in a rolling window; sows nothing."""
  with nn.intercept_methods(_intercept):
    return model.apply({"params": params}, *arguments, **options)


def _intercept(call, arguments, options, context):
  cnn = context.module
  if not isinstance(cnn, CNN) or context.method_name != "__call__":
    return call(*arguments, **options)
  names = [f"conv_{k}" for k in range(1, cnn.convolutions + 1)]
  layers = [cnn.get_variable("params", name) for name in names]
  return convolve(arguments[0], layers, cnn.precision)


def convolve(x: Array, layers: list, precision: str = "float32") -> Array:
  """Convolutions with bias, zero-padded to the same size, and ReLU between them.

  Args:
    x: [B, H, W, I].
    layers: their kernels [K, K, I, O] and biases [O], as {"kernel", "bias"}; K is odd
      and the same for all.
    precision: the type it computes in, see `cnn.PRECISIONS`.

  Returns:
    float32 [B, H, W, O] of the last one.
  """
  batch, height, width, channels = x.shape
  half = layers[0]["kernel"].shape[0] // 2
  period = height + half  # the images one below the other, with zeros between them
  length = batch * period + (len(layers) - 1) * half
  steps = -(-length // max(1, _PIXELS // width))
  rows = -(-length // steps)
  x = jnp.pad(x, ((0, 0), (0, half), (0, 0), (0, 0)))
  x = x.reshape(batch * period, width, channels)
  x = jnp.pad(x, ((0, steps * rows - len(x)), (0, 0), (0, 0)))
  x = x.reshape(steps, 1, rows, width, channels)
  kind = jnp.dtype(precision)
  kernels = [layer["kernel"].astype(kind) for layer in layers]
  biases = [layer["bias"] for layer in layers]

  def roll(above, given):
    step, new = given
    last = []
    stack = zip(kernels, biases, above, strict=True)
    for k, (kernel, bias, old) in enumerate(stack, start=1):
      window = jnp.concatenate([old, new.astype(kind)], axis=1)
      last.append(window[:, rows:])
      new = convolution.convolve_rows(window, kernel)
      if k < len(layers):  # each layer is a further `half` behind the rows that came in
        place = (step * rows + jnp.arange(rows) - k * half) % period
        inside = (place < height)[:, None, None]
        new = jnp.where(inside, nn.relu(new + bias.astype(kind)), 0)
    return last, new.astype(jnp.float32) + biases[-1]

  above = [jnp.zeros((1, 2 * half, width, len(k[0, 0])), kind) for k in kernels]
  _, found = jax.lax.scan(roll, above, (jnp.arange(steps), x))
  found = found.reshape(steps * rows, width, -1)[len(layers) * half :]
  found = jnp.pad(found, ((0, half), (0, 0), (0, 0)))[: batch * period]
  return found.reshape(batch, period, width, -1)[:, :height]
