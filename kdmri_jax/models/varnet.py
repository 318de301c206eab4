"""E2E-VarNet: a learned descent in the k-space of several coils (Sriram et al. 2020).

Sriram et al., End-to-End Variational Networks for Accelerated MRI Reconstruction,
MICCAI 2020, arXiv 2004.06688. The defaults are its published network of 29.9 million
parameters.
"""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from kdmri_jax.models import recompute
from kdmri_jax.models.arguments import check_choice, check_image, check_sizes
from kdmri_jax.models.unet import UNet
from kdmri_jax.physics import consistency, fourier
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.types import Array, CoilMeasurement, Measurement, Outputs

_MULTIPLE = 16  # of rows and columns that its U-Nets see


class Cascade(nn.Module):
  """k - w M (k - y) - F S U(S^H F^-1 k): soft data consistency and a U-Net.

  Attributes:
    features: of the U-Net.
    levels: of the U-Net.
  """

  features: int
  levels: int

  @nn.compact
  def __call__(
    self, kspace: Array, measured: Array, sampled: Array, sensitivities: Array
  ) -> Array:
    """One step.

    Args:
      kspace: the estimate k, complex64 [B, C, H, W].
      measured: the measurement y, complex64 [B, C, H, W].
      sampled: where it was measured, bool [..., 1, H, W].
      sensitivities: S, complex64 [..., C, H, W].

    Returns:
      The next estimate, complex64 [B, C, H, W].
    """
    weight = self.param("weight", nn.initializers.ones, (1,))
    image = (jnp.conj(sensitivities) * fourier.ifft2(kspace)).sum(-3)
    unet = UNet(self.features, self.levels, 2, standardised=False, name="unet")
    change = _on_standardised(unet, image)
    change = fourier.fft2(sensitivities * change[..., None, :, :])
    return kspace - weight * jnp.where(sampled, kspace - measured, 0) - change


class VarNet(nn.Module):
  """Cascades on the k-space of all coils, whose sensitivities a U-Net may estimate.

  It begins with the measured k-space; the zero-filled image is not read. With one coil
  it is the same network.

  Sows, for feature distillation, `consistency_C`, the image after cascade C, and
  `cascade_C/unet/...`, the features of its U-Net (see `UNet`), with rows and columns
  padded to multiples of 16.

  Attributes:
    cascades: number of cascades.
    features: channels of the first block of their U-Nets.
    levels: how many times these halve the resolution.
    coil_features: channels of the first block of the U-Net for the sensitivities.
    coil_levels: how many times it halves the resolution.
    channels: 1 for the root sum of squares of the coils' images, as published; 2 for
      their complex combination by the sensitivities of the measurement.
    sensitivities: those that the cascades use. "estimated": by a U-Net from the fully
      sampled centre of each coil's k-space, divided by their root sum of squares, as
      published; "given": those of the measurement, 1 for one coil.
    recompute: whether a training step stores k-space between cascades alone and
      computes their inner values again.
  """

  cascades: int = 12
  features: int = 18
  levels: int = 4
  coil_features: int = 8
  coil_levels: int = 4
  channels: int = 1
  sensitivities: str = "estimated"
  recompute: bool = False

  def __post_init__(self):
    """Raises ArgumentError for unknown names and settings out of range."""
    check_sizes(cascades=self.cascades, features=self.features, levels=self.levels)
    check_sizes(coil_features=self.coil_features, coil_levels=self.coil_levels)
    check_choice("channels", self.channels, (1, 2))
    check_choice("sensitivities", self.sensitivities, ("estimated", "given"))
    super().__post_init__()

  @nn.compact
  def __call__(
    self, image: Array, measurement: Measurement | CoilMeasurement
  ) -> Outputs:
    """Reconstructs.

    Args:
      image: zero-filled image, float32 [B, H, W, channels]; its values are not used.
      measurement: k-space [B, H, W] and mask [H, W] or [B, H, W], or the measurement of
        several coils. What is outside the mask is ignored.

    Returns:
      The reconstruction, float32 [B, H, W, channels].

    Raises:
      ArgumentError: the image has another number of channels or is too small, there is
        no measurement, or the mask has other values than 0 and 1.
    """
    check_image(image, self.channels)
    consistency.check_measured(measurement)
    sampled = is_sampled(measurement.mask)[..., None, :, :]
    if isinstance(measurement, CoilMeasurement):
      kspace, given = measurement.kspace, jnp.asarray(measurement.sensitivities)
    else:
      kspace, given = measurement.kspace[:, None], jnp.ones((1, 1, 1), jnp.complex64)
    measured = jnp.where(sampled, kspace, 0)
    maps = given
    if self.sensitivities == "estimated":
      maps = self._estimate(jnp.where(_centre(sampled), measured, 0))
    kspace = measured
    for c in range(1, self.cascades + 1):
      cascade = Cascade(self.features, self.levels, name=f"cascade_{c}")
      given_to_it = kspace, measured, sampled, maps
      if self.recompute:
        kspace = recompute.call(self, cascade, *given_to_it)
      else:
        kspace = cascade(*given_to_it)
      image = self._combine(fourier.ifft2(kspace), given)
      self.sow("intermediates", f"consistency_{c}", image)
    return Outputs(image)

  def _estimate(self, centre: Array) -> Array:
    """The sensitivities from the centre of k-space, complex64 [B, C, H, W]."""
    images = fourier.ifft2(centre)
    of_each = images.reshape(-1, *images.shape[-2:])
    # Lifted without what it sows, whose rows would be coils and not images.
    network = nn.jit(UNet, variables="params")
    settings = self.coil_features, self.coil_levels, 2, False
    unet = network(*settings, name="sensitivities")
    maps = _on_standardised(unet, of_each).reshape(images.shape)
    root = _root(_squares(maps))[..., None, :, :]
    return maps / jnp.where(root > 0, root, 1)

  def _combine(self, images: Array, sensitivities: Array) -> Array:
    """The image of the coils' images, complex64 [B, C, H, W] -> [B, H, W, channels]."""
    if self.channels == 1:
      return _root(_squares(images))[..., None]
    return fourier.from_complex((jnp.conj(sensitivities) * images).sum(-3), 2)


def _on_standardised(unet: UNet, image: Array) -> Array:
  """A U-Net on complex images whose parts get mean 0 and standard deviation 1.

  Zeros surround them up to a multiple of 16 rows and columns.

  Args:
    unet: for two channels.
    image: complex64 [B, H, W].

  Returns:
    complex64 [B, H, W], with mean and standard deviation of the image restored.
  """
  x = fourier.from_complex(image, 2)
  _, height, width, _ = x.shape
  mean = x.mean((1, 2), keepdims=True)
  square = jnp.square(x - mean).sum((1, 2), keepdims=True)
  deviation = _root(square / max(height * width - 1, 1))
  x = (x - mean) / jnp.where(deviation > 0, deviation, 1)
  missing = -height % _MULTIPLE, -width % _MULTIPLE
  margins = [(n // 2, n - n // 2) for n in missing]
  x = unet(jnp.pad(x, ((0, 0), *margins, (0, 0)))).image
  (top, _), (left, _) = margins
  x = x[:, top : top + height, left : left + width]
  return fourier.to_complex(x * deviation + mean)


def _centre(sampled: Array) -> Array:
  """The sampled points of the largest block about zero frequency without a gap.

  It holds the frequencies -n .. n - 1: of a Cartesian mask along the phase-encode axis,
  of another along both axes. At least zero frequency itself belongs to it.
  """
  distances = []
  for axis, size in ((-2, sampled.shape[-2]), (-1, sampled.shape[-1])):
    frequency = np.fft.fftfreq(size, 1 / size)
    distance = np.where(frequency < 0, -frequency, frequency + 1)
    first = lax.slice_in_dim(sampled, 0, 1, axis=axis)
    varies = (sampled != first).any((-2, -1), keepdims=True)
    distances.append(varies * np.expand_dims(distance, -1 if axis == -2 else 0))
  distance = jnp.maximum(*distances)
  gap = jnp.where(sampled, jnp.inf, distance).min((-2, -1), keepdims=True)
  return sampled & (distance <= jnp.maximum(gap - 1, 1))


def _squares(images: Array) -> Array:
  """The sum of squares over the coils, [..., C, H, W] -> [..., H, W]."""
  return (jnp.square(jnp.real(images)) + jnp.square(jnp.imag(images))).sum(-3)


def _root(x: Array) -> Array:
  """The square root, with gradient 0 at 0."""
  return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)
