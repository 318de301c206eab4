"""Similarity preserving: images similar for the teacher are similar for the student.

Tung & Mori 2019 (arXiv 1907.09682).
"""

import chex
import jax.numpy as jnp
from jax import lax

from kdmri_jax.distillation._vectors import sum_over_layers, unit
from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array


def similarities(feature: Array) -> Array:
  """G = Q Q^T of the flattened images, each row divided by its L2 norm.

  Args:
    feature: activations of a layer, float [B, ...].

  Returns:
    [B, B]; the row of an image without activity is 0.
  """
  flat = feature.reshape(len(feature), -1)
  return unit(jnp.matmul(flat, flat.T, precision=lax.Precision.HIGHEST))


def distance(student: Array, teacher: Array) -> Array:
  """|G_T - G_S|_F^2 / b^2 of one layer.

  Args:
    student: activations, float [B, Hs, Ws, Cs]; sizes and channels are free.
    teacher: activations, float [B, Ht, Wt, Ct].

  Returns:
    Scalar; 0 for a batch of one image. The method sums it over the layers.

  Raises:
    AssertionError: B differs.

  Source: Tung & Mori 2019, the loss L_SP.
  """
  chex.assert_equal_shape_prefix([student, teacher], 1)
  return jnp.square(similarities(student) - similarities(teacher)).mean()


VARIANTS = {
  "paper": Method(identity, sum_over_layers(distance), couples_batch=True, matches="")
}
