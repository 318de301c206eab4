"""Attention transfer: the student looks where the teacher looks.

KD-MRI eq. 3 (arXiv 2004.05319), after Zagoruyko & Komodakis 2017 (arXiv 1612.03928).
"""

import chex
import jax.numpy as jnp

from kdmri_jax.distillation._vectors import unit
from kdmri_jax.distillation.method import Method
from kdmri_jax.ops.norm import norm
from kdmri_jax.types import Array


def attention_map(feature: Array) -> Array:
  """Q = sum_c A_c^2: the activity of a layer at each pixel.

  Args:
    feature: activations after ReLU, float [B, H, W, C].

  Returns:
    [B, H, W], not normalised.
  """
  return jnp.square(feature).sum(axis=-1)


def paper(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """sum_layers | Q_S/|Q_S|_2 - Q_T/|Q_T|_2 |_2, mean over the images.

  An all-zero map stays zero.

  Args:
    student: attention maps [B, H, W], one per guided layer.
    teacher: attention maps [B, H, W], one per hint layer.

  Returns:
    Scalar; 0 when the maps agree up to scale.

  Raises:
    AssertionError: B, H or W differ.

  Source: KD-MRI eq. 3.
  """
  return _sum_over_layers(student, teacher, (1, 2), lambda x: norm(x, (1, 2)))


def reference(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """Mean absolute difference of maps normalised across the batch at each pixel.

  The published code computes this: the axis of its normalisation is the batch, so the
  loss of a single image is 0. Averaged over the layers. Arguments and errors as
  `paper`.
  """
  return _sum_over_layers(student, teacher, 0, jnp.abs) / len(student)


def reference_square(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """As `reference` with the square: the published code's criterion for the best."""
  return _sum_over_layers(student, teacher, 0, jnp.square) / len(student)


def mean_square(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """sum_layers of the mean square of Q_S/|Q_S|_2 - Q_T/|Q_T|_2 over pixels and images.

  The form most published code computes, from the mean over the channels of A^2, whose
  normalised map is the same. Unlike `paper` it decreases with the number of pixels: at
  240x240 it is of the order 1e-5. Arguments and errors as `paper`.

  Source: Zagoruyko & Komodakis 2017, published code.
  """
  return _sum_over_layers(student, teacher, (1, 2), jnp.square)


def _sum_over_layers(student, teacher, axes, measure) -> Array:
  """The mean measure of the difference of maps that are normalised along the axes."""
  chex.assert_trees_all_equal_shapes(student, teacher)
  pairs = zip(student, teacher, strict=True)
  return sum(measure(unit(s, axes) - unit(t, axes)).mean() for s, t in pairs)


def represent(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """The attention map of each layer."""
  return tuple(attention_map(feature) for feature in features)


VARIANTS = {
  "paper": Method(represent, paper, matches="size"),
  "mean_square": Method(represent, mean_square, matches="size"),
  "reference": Method(represent, reference, couples_batch=True, matches="size"),
  "reference_square": Method(
    represent, reference_square, couples_batch=True, matches="size"
  ),
}
