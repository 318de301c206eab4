"""Attention transfer: the student looks where the teacher looks.

KD-MRI eq. 3 (arXiv 2004.05319), after Zagoruyko & Komodakis 2017 (arXiv 1612.03928).
"""

import chex
import jax.numpy as jnp

from kdmri_jax.distillation._vectors import unit
from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array

_TINY = 1e-12


def attention_map(feature: Array) -> Array:
  """Q = sum_c A_c^2: the activity of a layer at each pixel.

  Args:
    feature: activations after ReLU, float [B, H, W, C].

  Returns:
    [B, H, W], not normalised.
  """
  return jnp.square(feature).sum(axis=-1)


def normalise(attention: Array) -> Array:
  """Q / |Q|_2 of each image, float [B, H, W]; an all-zero map stays zero."""
  return attention / _norm(attention)


def paper(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """sum_layers | Q_S/|Q_S|_2 - Q_T/|Q_T|_2 |_2, mean over the images.

  Args:
    student: attention maps [B, H, W], one per guided layer.
    teacher: attention maps [B, H, W], one per hint layer.

  Returns:
    Scalar; 0 when the maps agree up to scale.

  Raises:
    AssertionError: B, H or W differ.

  Source: KD-MRI eq. 3.
  """
  chex.assert_trees_all_equal_shapes(student, teacher)
  pairs = zip(student, teacher, strict=True)
  return sum(_norm(normalise(s) - normalise(t)).mean() for s, t in pairs)


def reference(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """Mean absolute difference of maps normalised across the batch at each pixel.

  The published code computes this: the axis of its normalisation is the batch, so the
  loss of a single image is 0. Averaged over the layers. Arguments and errors as
  `paper`.
  """
  return _across_batch(student, teacher, jnp.abs)


def reference_square(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """As `reference` with the square: the published code's criterion for the best."""
  return _across_batch(student, teacher, jnp.square)


def mean_square(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """sum_layers of the mean square of Q_S/|Q_S|_2 - Q_T/|Q_T|_2 over pixels and images.

  The form most published code computes, from the mean over the channels of A^2, whose
  normalised map is the same. Unlike `paper` it decreases with the number of pixels: at
  240x240 it is of the order 1e-5. Arguments and errors as `paper`.

  Source: Zagoruyko & Komodakis 2017, published code.
  """
  chex.assert_trees_all_equal_shapes(student, teacher)
  pairs = zip(student, teacher, strict=True)
  return sum(jnp.square(normalise(s) - normalise(t)).mean() for s, t in pairs)


def _norm(x: Array) -> Array:
  """|x|_2 of each image, [B, 1, 1], at least 1e-12; its gradient at 0 is 0.

  `ops.norm` rounds its gradient differently, which changes every number of a training
  run in the last digits and the students' results by hundredths of a dB.
  """
  square = jnp.square(x).sum(axis=(1, 2), keepdims=True)
  return jnp.sqrt(jnp.maximum(square, _TINY**2))


def _across_batch(student, teacher, measure) -> Array:
  chex.assert_trees_all_equal_shapes(student, teacher)
  pairs = zip(student, teacher, strict=True)
  values = [measure(unit(s, axis=0) - unit(t, axis=0)).mean() for s, t in pairs]
  return sum(values) / len(student)


def represent(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """The attention map of each layer."""
  return tuple(attention_map(feature) for feature in features)


_UNORDERED = dict(matches="size", unordered=True)
VARIANTS = {
  "paper": Method(represent, paper, **_UNORDERED),
  "mean_square": Method(represent, mean_square, **_UNORDERED),
  "reference": Method(represent, reference, couples_batch=True, **_UNORDERED),
  "reference_square": Method(
    represent, reference_square, couples_batch=True, **_UNORDERED
  ),
}
