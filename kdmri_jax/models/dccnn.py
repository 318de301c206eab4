"""DC-CNN: convolutions and data consistency in turn (Schlemper et al. 2017).

KD-MRI's teacher is D5C5 (5 cascades of 5 convolutions, 141,765 parameters), its
student D3C5 (5 cascades of 3, 49,285 parameters).
"""

import math
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.models import recompute
from kdmri_jax.models.arguments import (
  check_choice,
  check_image,
  check_least,
  check_sizes,
)
from kdmri_jax.models.cnn import CNN, PRECISIONS
from kdmri_jax.physics import consistency
from kdmri_jax.types import Array, CoilMeasurement, Measurement, Outputs


class DCCNN(nn.Module):
  """Cascades of a CNN and data consistency.

  Sows, for feature distillation, `cascade_C/activation_K` (see `CNN`) and
  `consistency_C`, the image after the data consistency of cascade C.

  Attributes:
    cascades: number of cascades.
    convolutions: convolutions per cascade.
    features: channels of the hidden layers.
    channels: 1 for real images, 2 for complex ones (real and imaginary part).
    variant: "paper" adds the cascade's input to its CNN (KD-MRI figure 1);
      "reference" does not, as the published code.
    lam: weight of the measured k-space in the data consistency; inf replaces the
      network's k-space.
    consistency: "auto" or a form of `physics.consistency`; with one coil all give the
      same image. With several, which need two channels, "gradient" differs from
      "proximal", for which all others stand.
    padding: pixels of zeros about the image before each CNN, cropped after it; 5 in
      the published code of SFT-KD-Recon.
    precision: of the convolutions, see `cnn.PRECISIONS`.
    shared: whether all cascades have the same weights; more cascades then add time but
      no parameters.
    recompute: whether a training step stores the image between cascades alone and
      computes their activations again: a third of the memory, 1.15 times the time.
  """

  cascades: int = 5
  convolutions: int = 5
  features: int = 32
  channels: int = 1
  variant: str = "paper"
  lam: float = math.inf
  consistency: str = "auto"
  padding: int = 0
  precision: str = "float32"
  shared: bool = False
  recompute: bool = False

  VARIANTS: ClassVar[tuple[str, ...]] = ("paper", "reference")

  def __post_init__(self):
    """Raises ArgumentError for unknown names and settings out of range."""
    sizes = dict(cascades=self.cascades, convolutions=self.convolutions)
    check_sizes(**sizes, features=self.features)
    check_least(padding=self.padding, lam=self.lam)
    check_choice("variant", self.variant, self.VARIANTS)
    check_choice("precision", self.precision, PRECISIONS)
    super().__post_init__()

  @nn.nowrap
  def weights_of(self, cascade: int) -> str:
    """The name of a cascade's weights among the parameters."""
    return "cascade" if self.shared else f"cascade_{cascade}"

  @nn.nowrap
  def feature_name(self, name: str, call: int) -> str:
    """The name of a feature of a module's call: each call is a cascade of its own."""
    return name.replace("cascade/", f"cascade_{call}/")

  @nn.compact
  def __call__(
    self,
    image: Array,
    measurement: Measurement | CoilMeasurement,
    first: int = 1,
    last: int | None = None,
  ) -> Outputs:
    """Reconstructs.

    Args:
      image: zero-filled image, float32 [B, H, W, C].
      measurement: k-space [B, H, W] and mask [H, W] or [B, H, W], or the measurement of
        several coils.
      first: the first cascade to run; the image is then the output of the one before.
      last: the last cascade to run; None for all that follow.

    Returns:
      The reconstruction, float32 [B, H, W, C].

    Raises:
      ArgumentError: the image has another number of channels.
    """
    check_image(image, self.channels)
    make_consistent = consistency.make(
      measurement, channels=self.channels, lam=self.lam, form=self.consistency
    )
    replaces_mean = math.isinf(self.lam) and isinstance(measurement, Measurement)
    replaces_mean = replaces_mean and jnp.all(measurement.mask[..., 0, 0] != 0)
    settings = self.convolutions, self.features, self.channels, self.precision
    p = self.padding
    inside = slice(p, -p or None)
    last = last or self.cascades
    names = {c: self.weights_of(c) for c in range(first, last + 1)}
    cnns = {name: CNN(*settings, name=name) for name in dict.fromkeys(names.values())}
    for c, name in names.items():
      padded = jnp.pad(image, ((0, 0), (p, p), (p, p), (0, 0)))
      if self.recompute:
        change = recompute.call(self, cnns[name], padded, replaces_mean)
      else:
        change = cnns[name](padded, replaces_mean)
      change = change[:, inside, inside]
      image = make_consistent(image + change if self.variant == "paper" else change)
      self.sow("intermediates", f"consistency_{c}", image)
    return Outputs(image)
