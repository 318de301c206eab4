"""Times of single convolutions and of their gradients, by XLA and by Pallas."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kdmri_jax.ops import layer
from kdmri_jax.ops.trial_process import least_seconds

FORWARD, OF_INPUT, OF_KERNEL = "forward", "of the input", "of kernel and bias"
WAYS = {
  "XLA": (layer.forward_by_xla, layer.backward_by_xla),
  "Pallas": (layer.forward_by_pallas, layer.backward_by_pallas),
}
_CALLS = 16  # of one program


def seconds(
  way: str, what: str, channels: tuple[int, int], images: tuple[int, int, int]
) -> float:
  """The least time of one call, with products in tensorfloat32.

  Args:
    way: key of `WAYS`.
    what: `FORWARD`, `OF_INPUT` or `OF_KERNEL`; gradients include the mask of a ReLU,
      which all convolutions have but those to one channel.
    channels: inputs and outputs.
    images: number, rows and columns.
  """
  inputs, outputs = channels
  compute = _computation(way, what, outputs > 1)
  keys = jax.random.split(jax.random.key(0), 5)

  def draw(k, *shape):
    return jax.random.normal(keys[k], shape)

  x, y, cotangent = (
    [*draw(k, _CALLS, *images, each)]
    for k, each in enumerate((inputs, outputs, outputs))
  )
  y = [jnp.maximum(each, 0) for each in y]
  given = draw(3, 3, 3, inputs, outputs), draw(4, outputs)
  calls = [(*own, *given) for own in zip(x, y, cotangent, strict=True)]
  return least_seconds([compute], calls)[0] / _CALLS


def _computation(way: str, what: str, relu: bool) -> Callable[..., Any]:
  forward, backward = WAYS[way]
  precision = jax.lax.Precision.HIGH

  def compute(x, y, cotangent, kernel, bias):
    if what == FORWARD:
      return forward(x, kernel, bias, relu=relu, precision=precision)
    found = backward(cotangent, x, kernel, y if relu else None, precision=precision)
    return found[0] if what == OF_INPUT else found[1:]

  return compute
