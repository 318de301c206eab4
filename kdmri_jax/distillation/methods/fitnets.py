"""FitNets: the student's layer, through a regressor, predicts the teacher's.

Romero et al. 2015 (arXiv 1412.6550), eq. 3.
"""

import chex
import jax.numpy as jnp

from kdmri_jax.distillation._layers import Conv, SumOverLayers
from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array


def hint_mse(student: Array, teacher: Array) -> Array:
  """Mean square of the difference of two layers.

  Args:
    student: guided layer, already regressed to the teacher's channels, [B, H, W, C].
    teacher: hint layer [B, H, W, C].

  Returns:
    Scalar, mean over images, pixels and channels.

  Raises:
    AssertionError: the shapes differ.
  """
  chex.assert_equal_shape([student, teacher])
  return jnp.square(student - teacher).mean()


class Regression(SumOverLayers):
  """sum_layers 1/2 |t - r(s)|^2, with a regressor r for each layer.

  The square is averaged over pixels and channels, not summed as in the paper, so that
  the value does not grow with the image. For maps of equal size the paper's rule for
  the kernel of r gives 1x1. The paper gives r the non-linearity of the hint; here r is
  linear, because a hint may be a layer without one.
  """

  def compare(self, number: int, student: Array, teacher: Array) -> Array:
    """Scalar of a guided layer [B, H, W, Cs] and its hint [B, H, W, Ct]."""
    regressor = Conv(teacher.shape[-1], (1, 1), name=f"regressor_{number}")
    return hint_mse(regressor(student), teacher) / 2


VARIANTS = {"paper": Method(identity, Regression, matches="size")}
