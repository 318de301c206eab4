"""FAKD: pixels similar for the teacher are similar for the student (He et al. 2020)."""

import chex
import jax.numpy as jnp
from jax import lax

from kdmri_jax.distillation._vectors import shrink, sum_over_layers, unit
from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array


def represent(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """Maps pooled to at most 16x16, each pixel's channels divided by their L2 norm.

  The affinity of all pixels of 150x150 has 5e8 entries per image, of the pooled ones
  65,536.

  Args:
    features: activations, float [B, H, W, C].

  Returns:
    One [B, min(H, 16), min(W, 16), C] per layer; an inactive pixel stays 0.
  """
  return tuple(unit(shrink(feature)) for feature in features)


def affinity(pixels: Array) -> Array:
  """Cosines between all pixels, float [B, H, W, C] of length 1 -> [B, H, W, H, W]."""
  return jnp.einsum("bhwc,bijc->bhwij", pixels, pixels, precision=lax.Precision.HIGHEST)


def pooled(student: Array, teacher: Array) -> Array:
  """Mean absolute difference of the affinities A = F^T F of one layer.

  Args:
    student: from `represent`, float [B, H, W, Cs].
    teacher: likewise, [B, H, W, Ct].

  Returns:
    Scalar, mean over pairs of pixels and images; the method sums it over the layers.

  Raises:
    AssertionError: B, H or W differ.

  Source: He et al. 2020, the spatial affinity, of pooled maps.
  """
  chex.assert_equal_shape_prefix([student, teacher], 3)
  return jnp.abs(affinity(student) - affinity(teacher)).mean()


VARIANTS = {"pooled": Method(represent, sum_over_layers(pooled), matches="size")}
