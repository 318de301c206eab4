"""EDSR: residual blocks without batch normalisation (Lim et al. 2017).

Lim et al., Enhanced deep residual networks for single image super-resolution, arXiv
1707.02921. Its baseline has 16 blocks of 64 features; for grey images and without
upsampler, as the student of MR image enhancement, 1,219,841 parameters. The large one
has 32 blocks of 256 features whose residues are scaled by 0.1.
"""

import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.models.arguments import (
  check_choice,
  check_image,
  check_mean,
  check_sizes,
)
from kdmri_jax.models.cnn import convolve
from kdmri_jax.models.subpixel import STEPS, Upsampler
from kdmri_jax.types import Array, Measurement, Outputs


class ResidualBlock(nn.Module):
  """x + res_scale * conv(ReLU(conv(x))).

  Sows `activation`, the output of the ReLU, and `output`.

  Attributes:
    res_scale: factor of the residue.
  """

  res_scale: float

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B, H, W, F] -> [B, H, W, F]."""
    hidden = convolve(x, x.shape[-1], "conv_1", relu=True)
    self.sow("intermediates", "activation", hidden)
    x = x + self.res_scale * convolve(hidden, x.shape[-1], "conv_2")
    self.sow("intermediates", "output", x)
    return x


class EDSR(nn.Module):
  """A convolution, residual blocks with a skip around them, an upsampler, the image.

  The image has no skip of its own: all of it passes through the features. All
  convolutions are 3x3, zero-padded.

  Sows `head`, the first convolution's output; `block_K/activation` and
  `block_K/output`, K from 1 (see `ResidualBlock`); `body`, the features that the
  upsampler reads; all [B, H, W, features].

  Attributes:
    blocks: number of residual blocks.
    features: channels of the hidden layers.
    res_scale: factor of each block's residue.
    scale: factor of height and width: 1 (no upsampler), 2, 3 or 4.
    channels: channels of the images.
    mean: subtracted from the channels before and added after, as in the published
      networks for colour images; () for none.
  """

  blocks: int = 16
  features: int = 64
  res_scale: float = 1.0
  scale: int = 1
  channels: int = 1
  mean: tuple[float, ...] = ()

  def __post_init__(self):
    """Raises ValueError for settings that do not fit together."""
    check_sizes(blocks=self.blocks, features=self.features, channels=self.channels)
    check_choice("scale", self.scale, tuple(STEPS))
    check_mean(self.mean, self.channels)
    super().__post_init__()

  @nn.compact
  def __call__(self, image: Array, measurement: Measurement | None = None) -> Outputs:
    """Enhances an image.

    Args:
      image: float32 [B, H, W, channels].
      measurement: not used.

    Returns:
      float32 [B, scale H, scale W, channels].

    Raises:
      ValueError: the image has another number of channels.
    """
    del measurement
    check_image(image, self.channels)
    mean = jnp.asarray(self.mean or 0.0, image.dtype)
    head = x = convolve(image - mean, self.features, "conv_first")
    self.sow("intermediates", "head", head)
    for k in range(1, self.blocks + 1):
      x = ResidualBlock(self.res_scale, name=f"block_{k}")(x)
    x = head + convolve(x, self.features, "conv_body")
    self.sow("intermediates", "body", x)
    x = Upsampler(self.scale, name="upsampler")(x)
    return Outputs(mean + convolve(x, self.channels, "conv_last"))
