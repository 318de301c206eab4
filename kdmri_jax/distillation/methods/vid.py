"""Variational information distillation: the student's layer predicts the teacher's.

Ahn et al. 2019 (arXiv 1904.05835): training raises a lower bound of the mutual
information of the two layers, by making the teacher's layer likely given the student's.
"""

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.distillation._layers import Conv, SumOverLayers
from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array

_SMALLEST_VARIANCE = 1e-5


def negative_log_likelihood(mean: Array, variance: Array, teacher: Array) -> Array:
  """1/2 (log sigma_c^2 + (t - mu)^2 / sigma_c^2), without the constant 1/2 log 2 pi.

  Args:
    mean: mu(s), float [B, H, W, C].
    variance: sigma_c^2 > 0, float [C].
    teacher: hint layer t [B, H, W, C].

  Returns:
    Scalar, mean over images, pixels and channels; negative where the variance is
    small and the mean is right.

  Raises:
    AssertionError: the shapes differ.

  Source: Ahn et al. 2019.
  """
  chex.assert_equal_shape([mean, teacher])
  chex.assert_shape(variance, teacher.shape[-1:])
  return (jnp.log(variance) + jnp.square(teacher - mean) / variance).mean() / 2


class Mean(nn.Module):
  """mu: three 1x1 convolutions with ReLU between.

  Attributes:
    channels: of the teacher's layer.
  """

  channels: int

  @nn.compact
  def __call__(self, feature: Array) -> Array:
    """[B, H, W, C] -> [B, H, W, channels]."""
    x = nn.relu(Conv(self.channels, (1, 1))(feature))
    x = nn.relu(Conv(self.channels, (1, 1))(x))
    return Conv(self.channels, (1, 1))(x)


class Likelihood(SumOverLayers):
  """sum_layers -log q(t | s), a Gaussian with trained mean mu(s) and variance.

  The variance of a channel is softplus(alpha_c) + 1e-5, the same at all pixels, with
  alpha_c = 0 at first. Averaged over pixels and channels where the paper sums.
  """

  def compare(self, number: int, student: Array, teacher: Array) -> Array:
    """Scalar of a guided layer [B, H, W, Cs] and its hint [B, H, W, Ct]."""
    channels = teacher.shape[-1]
    mean = Mean(channels, name=f"mean_{number}")(student)
    alpha = self.param(f"alpha_{number}", nn.initializers.zeros, (channels,))
    variance = jax.nn.softplus(alpha) + _SMALLEST_VARIANCE
    return negative_log_likelihood(mean, variance, teacher)


VARIANTS = {"paper": Method(identity, Likelihood, matches="size")}
