"""FitNets: the student's layer, through a regressor, predicts the teacher's.

Romero et al. 2015 (arXiv 1412.6550), eq. 3.
"""

import chex
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation.layers import Conv
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


class Regression(nn.Module):
  """sum_layers 1/2 |t - r(s)|^2, with a regressor r for each layer.

  The square is averaged over pixels and channels, not summed as in the paper, so that
  the value does not grow with the image. For maps of equal size the paper's rule for
  the kernel of r gives 1x1. The paper gives r the non-linearity of the hint; here r is
  linear, because a hint may be a layer without one.
  """

  @nn.compact
  def __call__(self, student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
    """The value of a batch.

    Args:
      student: guided layers [B, H, W, Cs].
      teacher: hint layers [B, H, W, Ct].

    Returns:
      Scalar, mean over the images.

    Raises:
      AssertionError: B, H or W differ.
      ValueError: the number of layers differs.
    """
    value = 0.0
    for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1):
      regressed = Conv(t.shape[-1], (1, 1), name=f"regressor_{k}")(s)
      value += hint_mse(regressed, t) / 2
    return value


VARIANTS = {"paper": Method(identity, Regression, matches="size")}
