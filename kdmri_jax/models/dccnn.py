"""DC-CNN: convolutions and data consistency in turn (Schlemper et al. 2017).

KD-MRI's teacher is D5C5 (5 cascades of 5 convolutions, 141,765 parameters), its
student D3C5 (5 cascades of 3, 49,285 parameters).
"""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.physics import consistency
from kdmri_jax.types import Array, Measurement, Outputs


def _uniform(fan_in: int) -> nn.initializers.Initializer:
  """PyTorch's default for weight and bias: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
  bound = 1 / math.sqrt(fan_in)

  def init(key, shape, dtype=None):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class Convolution(nn.Module):
  """A 3x3 convolution with bias, zero-padded, initialised as PyTorch does.

  Attributes:
    features: channels of the output.
  """

  features: int

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array]:
    """[B, H, W, I] -> (without bias [B, H, W, features], bias [features])."""
    init = _uniform(9 * x.shape[-1])
    kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
    bias = self.param("bias", init, (self.features,))
    convolved = jax.lax.conv_general_dilated(
      x,
      kernel,
      window_strides=(1, 1),
      padding="SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      precision=jax.lax.Precision.HIGHEST,  # float32 on accelerators too
    )
    return convolved, bias


class Cascade(nn.Module):
  """The CNN of one cascade: 3x3 convolutions with ReLU between.

  Sows `activation_1` .. `activation_K`: the output of each convolution, after its ReLU
  but for the last, which has none.
  """

  convolutions: int
  features: int
  channels: int

  @nn.compact
  def __call__(self, x: Array, idle_bias: Array) -> Array:
    """Runs the convolutions.

    Args:
      x: [B, H, W, channels].
      idle_bias: True where the last bias changes nothing, because the data
        consistency replaces the image's mean. Its gradient is zero but for
        rounding, which Adam would divide by its own size: it is stopped.

    Returns:
      [B, H, W, channels].
    """
    for k in range(1, self.convolutions):
      x, bias = Convolution(self.features, name=f"conv_{k}")(x)
      x = nn.relu(x + bias)
      self.sow("intermediates", f"activation_{k}", x)
    last = self.convolutions
    x, bias = Convolution(self.channels, name=f"conv_{last}")(x)
    self.sow("intermediates", f"activation_{last}", x + bias)
    return x + jnp.where(idle_bias, jax.lax.stop_gradient(bias), bias)


class DCCNN(nn.Module):
  """Cascades of a CNN and data consistency.

  Sows, for feature distillation, `cascade_C/activation_K` (see `Cascade`) and
  `consistency_C`, the image after the data consistency of cascade C.

  Attributes:
    cascades: number of cascades.
    convolutions: convolutions a cascade.
    features: channels of the hidden layers.
    channels: 1 for real images, 2 for complex ones (real and imaginary part).
    variant: "paper" adds the cascade's input to its CNN (KD-MRI figure 1);
      "reference" does not, as the published code.
    lam: weight of the measured k-space in the data consistency; inf replaces.
    consistency: "auto" or a form of `physics.consistency`; all give the same image.
    padding: pixels of zeros about the image before each CNN, cropped after it; 5 in
      the published code of SFT-KD-Recon.
  """

  cascades: int = 5
  convolutions: int = 5
  features: int = 32
  channels: int = 1
  variant: str = "paper"
  lam: float = math.inf
  consistency: str = "auto"
  padding: int = 0

  VARIANTS: ClassVar[tuple[str, ...]] = ("paper", "reference")

  @nn.compact
  def __call__(self, image: Array, measurement: Measurement, first: int = 1) -> Outputs:
    """Reconstructs.

    Args:
      image: zero-filled image, float32 [B, H, W, C].
      measurement: k-space [B, H, W] and mask [H, W] or [B, H, W].
      first: the cascade to begin with; the image is then that of the cascade before.

    Returns:
      The reconstruction, float32 [B, H, W, C].

    Raises:
      ValueError: the image has another number of channels, or the variant is
        unknown.
    """
    if self.variant not in self.VARIANTS:
      raise ValueError(f"variant {self.variant!r} is none of {self.VARIANTS}")
    if image.ndim != 4 or image.shape[-1] != self.channels:
      raise ValueError(
        f"image has shape {image.shape}; expected [B, H, W, {self.channels}]"
      )
    make_consistent = consistency.make(
      measurement, channels=self.channels, lam=self.lam, form=self.consistency
    )
    replaces_mean = math.isinf(self.lam) and jnp.all(measurement.mask[..., 0, 0] != 0)
    for c in range(first, self.cascades + 1):
      cnn = Cascade(
        self.convolutions, self.features, self.channels, name=f"cascade_{c}"
      )
      change = self._crop(cnn(self._pad(image), replaces_mean))
      image = make_consistent(image + change if self.variant == "paper" else change)
      self.sow("intermediates", f"consistency_{c}", image)
    return Outputs(image)

  def _pad(self, image: Array) -> Array:
    margin = (self.padding, self.padding)
    return jnp.pad(image, ((0, 0), margin, margin, (0, 0)))

  def _crop(self, image: Array) -> Array:
    _, height, width, _ = image.shape
    p = self.padding
    return image[:, p : height - p, p : width - p]
