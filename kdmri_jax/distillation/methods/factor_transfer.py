"""Factor transfer: the student matches a paraphrase of the teacher's layer.

Kim et al. 2018 (arXiv 1802.04977).
"""

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation._layers import Conv, SumOverLayers
from kdmri_jax.distillation._vectors import unit
from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array

_SLOPE = 0.1


def factor_l1(student: Array, teacher: Array) -> Array:
  """Mean absolute difference of F_S/|F_S|_2 and F_T/|F_T|_2.

  Args:
    student: factors [B, ...]; the norm is over the whole factor of an image.
    teacher: factors of the same shape.

  Returns:
    Scalar, mean over images and entries where the paper sums over entries; 0 when the
    factors agree up to scale.

  Raises:
    AssertionError: the shapes differ.

  Source: Kim et al. 2018, with p = 1.
  """
  chex.assert_equal_shape([student, teacher])
  axes = tuple(range(1, student.ndim))
  return jnp.abs(unit(student, axes) - unit(teacher, axes)).mean()


class Translator(nn.Module):
  """A layer's factor by two 3x3 convolutions, leaky ReLU between.

  Attributes:
    channels: of the teacher's layer; the factor has half of them.
  """

  channels: int

  @nn.compact
  def __call__(self, feature: Array) -> Array:
    """[B, H, W, C] -> [B, H, W, max(1, channels // 2)]."""
    x = nn.leaky_relu(Conv(self.channels, (3, 3))(feature), _SLOPE)
    return Conv(max(1, self.channels // 2), (3, 3))(x)


class Paraphraser(nn.Module):
  """An auto-encoder of the teacher's layer; its code is the factor."""

  @nn.compact
  def __call__(self, feature: Array) -> tuple[Array, Array]:
    """[B, H, W, C] -> factor [B, H, W, max(1, C // 2)], reconstruction [B, H, W, C]."""
    channels = feature.shape[-1]
    factor = Translator(channels, name="encoder")(feature)
    x = nn.leaky_relu(Conv(channels, (3, 3))(factor), _SLOPE)
    return factor, Conv(channels, (3, 3))(x)


class FactorTransfer(SumOverLayers):
  """sum_layers |F_S/|F_S| - F_T/|F_T||_1 + |t - P(t)|^2, both as means over entries.

  The paper trains the paraphraser P before the student and then freezes it. Here it is
  trained together with the student, by its reconstruction loss alone: the factor F_T
  has no gradient, so the paraphraser does not move towards the student. The reported
  value includes the reconstruction loss. No batch normalisation.
  """

  def compare(self, number: int, student: Array, teacher: Array) -> Array:
    """Scalar of a guided layer [B, H, W, Cs] and its hint [B, H, W, Ct]."""
    factor, reconstruction = Paraphraser(name=f"paraphraser_{number}")(teacher)
    translator = Translator(teacher.shape[-1], name=f"translator_{number}")
    distance = factor_l1(translator(student), jax.lax.stop_gradient(factor))
    return distance + jnp.square(teacher - reconstruction).mean()


VARIANTS = {"paper": Method(identity, FactorTransfer, matches="size")}
