"""Convolutions as PyTorch initialises them, and the plain CNN made of them."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.ops import convolution
from kdmri_jax.types import Array


class Precision(NamedTuple):
  """The precision of a CNN.

  Attributes:
    kind: type of the hidden layers.
    products: precision of float32 products on accelerators.
  """

  kind: Any
  products: jax.lax.Precision


# By name. Weights, the image between cascades and data consistency are float32 in all.
# "tensorfloat32" rounds the factors of each product to 11 significant bits on a GPU
# that has such products, and splits them into two numbers of 8 bits each, for three
# products, on a TPU; on a CPU it is float32. bfloat16 has 8 bits.
PRECISIONS = {
  "float32": Precision(jnp.float32, jax.lax.Precision.HIGHEST),
  "tensorfloat32": Precision(jnp.float32, jax.lax.Precision.HIGH),
  "bfloat16": Precision(jnp.bfloat16, jax.lax.Precision.HIGHEST),
}


def uniform(fan_in: int) -> nn.initializers.Initializer:
  """PyTorch's default for weight and bias: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
  bound = 1 / math.sqrt(fan_in)

  def init(key, shape, dtype=None):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class Weights(nn.Module):
  """Kernel and bias of a convolution, initialised as PyTorch does.

  Attributes:
    features: channels of the output.
    size: rows and columns of the kernel, odd.
  """

  features: int
  size: int = 3

  @nn.compact
  def __call__(self, inputs: int) -> tuple[Array, Array]:
    """The kernel [size, size, inputs, features] and the bias [features], float32."""
    shape = (self.size, self.size, inputs, self.features)
    init = uniform(math.prod(shape[:3]))
    return self.param("kernel", init, shape), self.param("bias", init, shape[3:])


def convolve(
  x: Array, features: int, name: str, size: int = 3, relu: bool = False
) -> Array:
  """[B, H, W, I] -> [B, H, W, features], with `Weights` of this name; perhaps ReLU."""
  kernel, bias = Weights(features, size, name=name)(x.shape[-1])
  return convolution.convolve(x, kernel, bias, relu)


class CNN(nn.Module):
  """3x3 convolutions with ReLU between.

  Sows `activation_1` .. `activation_K`: the output of each convolution, after its ReLU;
  the last one has no ReLU.

  Attributes:
    convolutions: number of convolutions, at least 1.
    features: channels of the hidden layers.
    channels: channels of the output.
    precision: one of `PRECISIONS`.
  """

  convolutions: int
  features: int
  channels: int
  precision: str = "float32"

  @nn.compact
  def __call__(self, x: Array, idle_bias: Array | bool = False) -> Array:
    """Runs the convolutions.

    Args:
      x: [B, H, W, C].
      idle_bias: True where the last bias has no effect, because the data consistency
        replaces the image's mean. Its gradient is then rounding error alone, which Adam
        would divide by its own size; so it is stopped.

    Returns:
      float32 [B, H, W, channels], as are all sown features.
    """
    kind, products = PRECISIONS[self.precision]
    last = self.convolutions
    for k in range(1, last + 1):
      features = self.features if k < last else self.channels
      kernel, bias = Weights(features, name=f"conv_{k}")(x.shape[-1])
      x, kernel = x.astype(kind), kernel.astype(kind)
      if k < last:
        x = convolution.convolve(x, kernel, bias.astype(kind), True, products)
        self.sow("intermediates", f"activation_{k}", x.astype(jnp.float32))
    applied = jnp.where(idle_bias, jax.lax.stop_gradient(bias), bias).astype(kind)
    x = convolution.convolve(x, kernel, applied, precision=products).astype(jnp.float32)
    # The layer itself always depends on the bias: this adds 0, with its gradient.
    effect = jnp.where(idle_bias, bias - jax.lax.stop_gradient(bias), 0)
    self.sow("intermediates", f"activation_{last}", x + effect)
    return x
