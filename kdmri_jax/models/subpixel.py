"""Sub-pixel convolution: channels become pixels (Shi et al. 2016, arXiv 1609.05158)."""

from flax import linen as nn

from kdmri_jax.models.cnn import convolve
from kdmri_jax.types import Array

# The factors by which the resolution rises, one after the other.
STEPS = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


def shuffle(x: Array, factor: int) -> Array:
  """Each pixel's channels become factor x factor pixels, rows before columns.

  Args:
    x: [B, H, W, C factor²]; the channels of one output channel are adjacent.
    factor: of height and width.

  Returns:
    [B, factor H, factor W, C].
  """
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height, width, channels // factor**2, factor, factor)
  x = x.transpose(0, 1, 4, 2, 5, 3)
  return x.reshape(batch, height * factor, width * factor, channels // factor**2)


class Upsampler(nn.Module):
  """Convolutions, each followed by `shuffle`, that keep the number of channels.

  Attributes:
    scale: factor of height and width, a key of `STEPS`.
  """

  scale: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[B, H, W, C] -> [B, scale H, scale W, C]."""
    for k, factor in enumerate(STEPS[self.scale], start=1):
      x = shuffle(convolve(x, factor**2 * x.shape[-1], f"conv_{k}"), factor)
    return x
