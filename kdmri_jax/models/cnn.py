"""Convolutions as PyTorch initialises them, and the plain CNN made of them."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.models import convolution
from kdmri_jax.types import Array

# Types that a network may compute in. bfloat16 has the range of float32 and 8 bits of
# precision; weights, the image between cascades and data consistency stay float32.
PRECISIONS = ("float32", "bfloat16")


def check_precision(precision: str) -> None:
  """Raises ValueError for a type that is none of `PRECISIONS`."""
  if precision not in PRECISIONS:
    raise ValueError(f"precision {precision!r} is none of {PRECISIONS}")


def _uniform(fan_in: int) -> nn.initializers.Initializer:
  """PyTorch's default for weight and bias: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
  bound = 1 / math.sqrt(fan_in)

  def init(key, shape, dtype=None):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class Convolution(nn.Module):
  """A convolution with bias, zero-padded, initialised as PyTorch does.

  Attributes:
    features: channels of the output.
    size: rows and columns of the kernel, odd.
    precision: the type it computes in, see `PRECISIONS`; its weights are float32.
  """

  features: int
  size: int = 3
  precision: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array]:
    """[B, H, W, I] -> (without bias [B, H, W, features], bias [features])."""
    shape = (self.size, self.size, x.shape[-1], self.features)
    init = _uniform(math.prod(shape[:3]))
    kernel = self.param("kernel", init, shape)
    bias = self.param("bias", init, (self.features,))
    kind = jnp.dtype(self.precision)
    return convolution.convolve(x.astype(kind), kernel.astype(kind)), bias


def convolve(x: Array, features: int, name: str, size: int = 3) -> Array:
  """[B, H, W, I] -> [B, H, W, features] by a `Convolution` of this name, with bias."""
  convolved, bias = Convolution(features, size, name=name)(x)
  return convolved + bias


class CNN(nn.Module):
  """3x3 convolutions with ReLU between.

  Sows `activation_1` .. `activation_K`: the output of each convolution, after its ReLU
  but for the last, which has none.

  Attributes:
    convolutions: number of convolutions, at least 1.
    features: channels of the hidden layers.
    channels: channels of the output.
    precision: the type of the hidden layers, see `PRECISIONS`.
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
      idle_bias: True where the last bias changes nothing, because the data
        consistency replaces the image's mean. Its gradient is zero but for
        rounding, which Adam would divide by its own size: it is stopped.

    Returns:
      float32 [B, H, W, channels], as all that it sows.
    """
    for k in range(1, self.convolutions):
      x, bias = self._convolve(k, self.features, x)
      x = nn.relu(x + bias.astype(x.dtype))
      self.sow("intermediates", f"activation_{k}", x.astype(jnp.float32))
    last = self.convolutions
    x, bias = self._convolve(last, self.channels, x)
    x = x.astype(jnp.float32)
    self.sow("intermediates", f"activation_{last}", x + bias)
    return x + jnp.where(idle_bias, jax.lax.stop_gradient(bias), bias)

  def _convolve(self, k: int, features: int, x: Array) -> tuple[Array, Array]:
    return Convolution(features, precision=self.precision, name=f"conv_{k}")(x)
