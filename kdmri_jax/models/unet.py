"""The U-Net of fastMRI (Zbontar et al. 2018, arXiv 1811.08839, section 5.3).

Its baselines for one coil have 32 to 256 features and 4 levels; 7,756,097 parameters
with 32.
"""

import math

import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models.arguments import check_image, check_sizes
from kdmri_jax.models.cnn import convolve, uniform
from kdmri_jax.ops import convolution
from kdmri_jax.types import Array, Measurement, Outputs

SLOPE = 0.2  # of the leaky ReLU below 0
LARGEST = 6.0  # magnitude of the standardised input
SMALLEST = 1e-11  # standard deviation of an input
EPSILON = 1e-5  # added to the variance that instances are normalised by


class Block(nn.Module):
  """Twice: a 3x3 convolution without bias, instance normalisation, leaky ReLU.

  Sows `activation_1` and `activation_2`, the outputs of the leaky ReLUs.

  Attributes:
    features: channels of the output.
  """

  features: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B, H, W, C] -> [B, H, W, features]."""
    for k in (1, 2):
      shape = (3, 3, x.shape[-1], self.features)
      kernel = Kernel(shape, 9 * x.shape[-1], name=f"conv_{k}")()
      x = _activate(convolution.convolve(x, kernel))
      self.sow("intermediates", f"activation_{k}", x)
    return x


class Doubling(nn.Module):
  """A transposed 2x2 convolution of stride 2, instance normalisation, leaky ReLU.

  Attributes:
    features: channels of the output.
  """

  features: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B, H, W, C] -> [B, 2 H, 2 W, features]."""
    batch, height, width, channels = x.shape
    shape = (2, 2, self.features, channels)
    kernel = Kernel(shape, 4 * self.features, name="transposed")()
    x = jnp.einsum("bhwi,rcoi->bhrwco", x, kernel, precision="highest")
    return _activate(x.reshape(batch, 2 * height, 2 * width, self.features))


class Kernel(nn.Module):
  """The kernel of a convolution without bias, initialised as PyTorch does.

  Attributes:
    shape: [rows, columns, inputs, outputs], transposed convolutions [..., outputs,
      inputs].
    fan_in: PyTorch's number of inputs of an output.
  """

  shape: tuple[int, ...]
  fan_in: int

  @nn.compact
  def __call__(self) -> Array:
    """The kernel, float32."""
    return self.param("kernel", uniform(self.fan_in), self.shape)


class UNet(nn.Module):
  """Blocks whose resolution falls and rises again, with skips; no data consistency.

  Each level halves rows and columns by the mean of 2x2 pixels and doubles the
  features. On the way up the result of a level, doubled in size, is joined with that
  of the block of this resolution on the way down; a row or column that halving lost is
  reflected.

  Sows `down_K/activation_1` and `_2`, K from 1 at full resolution; `bottom/...`;
  `up_K/...`, K from 1 at the lowest resolution.

  Attributes:
    features: channels of the first block.
    levels: how many times the resolution is halved.
    channels: 1 for real images, 2 for complex ones (real and imaginary part).
    standardised: whether the network sees the image minus its mean, divided by its
      standard deviation, limited to 6 of these, and its result is scaled back, as
      fastMRI trains it.
  """

  features: int = 32
  levels: int = 4
  channels: int = 1
  standardised: bool = True

  def __post_init__(self):
    """Raises ArgumentError for settings out of range."""
    check_sizes(features=self.features, levels=self.levels, channels=self.channels)
    super().__post_init__()

  @nn.compact
  def __call__(self, image: Array, measurement: Measurement | None = None) -> Outputs:
    """Reconstructs an image.

    Args:
      image: zero-filled image, float32 [B, H, W, channels], H and W at least 2^levels,
        one of them at least twice that.
      measurement: not used.

    Returns:
      float32 [B, H, W, channels].

    Raises:
      ArgumentError: the image is too small, or has another number of channels.
    """
    del measurement
    check_image(image, self.channels)
    self._check_size(image.shape[1:3])
    x, mean, deviation = image, 0.0, 1.0
    if self.standardised:
      pixels = math.prod(image.shape[1:])
      mean = image.mean((1, 2, 3), keepdims=True)
      square = jnp.square(image - mean).sum((1, 2, 3), keepdims=True) / (pixels - 1)
      deviation = jnp.sqrt(square) + SMALLEST
      x = jnp.clip((image - mean) / deviation, -LARGEST, LARGEST)
    skips = []
    for k in range(self.levels):
      x = Block(self.features * 2**k, name=f"down_{k + 1}")(x)
      skips.append(x)
      x = nn.avg_pool(x, (2, 2), (2, 2))
    x = Block(self.features * 2**self.levels, name="bottom")(x)
    for k, skip in enumerate(reversed(skips), start=1):
      x = Doubling(skip.shape[-1], name=f"double_{k}")(x)
      missing = [(0, s - n) for s, n in zip(skip.shape[1:3], x.shape[1:3], strict=True)]
      x = jnp.pad(x, ((0, 0), *missing, (0, 0)), mode="reflect")
      x = Block(skip.shape[-1], name=f"up_{k}")(jnp.concatenate([x, skip], axis=-1))
    x = convolve(x, self.channels, "conv_last", size=1)
    return Outputs(x * deviation + mean)

  def _check_size(self, size: tuple[int, ...]) -> None:
    least = 2**self.levels
    if min(size) < least or max(size) < 2 * least:
      expected = f"at least {least} rows and columns, and {2 * least} of one of them"
      raise ArgumentError("image", f"{size[0]}x{size[1]} pixels", expected)


def _activate(x: Array) -> Array:
  """Instance normalisation and leaky ReLU."""
  x = x - x.mean((1, 2), keepdims=True)
  x = x / jnp.sqrt(jnp.square(x).mean((1, 2), keepdims=True) + EPSILON)
  return nn.leaky_relu(x, SLOPE)
