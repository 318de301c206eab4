"""VDSR: many convolutions that predict the residue of a low-resolution image.

Kim et al. 2016 (arXiv 1511.04587) with 20 convolutions; KD-MRI's super-resolution has
a teacher of 11 (333,569 parameters) and a student of 7 (185,857).
"""

from flax import linen as nn

from kdmri_jax.models.arguments import check_choice, check_image, check_sizes
from kdmri_jax.models.cnn import CNN, PRECISIONS
from kdmri_jax.types import Array, Measurement, Outputs


class VDSR(nn.Module):
  """x + CNN(x), with no data consistency.

  Sows `cnn/activation_K`, see `CNN`.

  Attributes:
    convolutions: number of convolutions.
    features: channels of the hidden layers.
    channels: 1 for real images, 2 for complex ones (real and imaginary part).
    precision: of the convolutions, see `cnn.PRECISIONS`.
  """

  convolutions: int = 20
  features: int = 64
  channels: int = 1
  precision: str = "float32"

  def __post_init__(self):
    """Raises ArgumentError for settings out of range and an unknown precision."""
    check_sizes(convolutions=self.convolutions, features=self.features)
    check_choice("precision", self.precision, PRECISIONS)
    super().__post_init__()

  @nn.compact
  def __call__(self, image: Array, measurement: Measurement | None = None) -> Outputs:
    """Increases the resolution of an image, which already has its final size.

    Args:
      image: low-resolution image, zero-filled in k-space, float32 [B, H, W, C].
      measurement: not used.

    Returns:
      float32 [B, H, W, C].

    Raises:
      ArgumentError: the image has another number of channels.
    """
    del measurement
    check_image(image, self.channels)
    settings = self.convolutions, self.features, self.channels, self.precision
    return Outputs(image + CNN(*settings, name="cnn")(image))
