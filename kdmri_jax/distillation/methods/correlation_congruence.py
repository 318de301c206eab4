"""Correlation congruence: images relate to each other as they do for the teacher.

Peng et al. 2019 (arXiv 1904.01802) compare the embeddings before a classifier. Here the
embedding of an image is `_vectors.embed`: its maps, averaged to at most 16x16.
"""

import math

import chex
import jax.numpy as jnp
from jax import lax

from kdmri_jax.distillation._vectors import embed, sum_over_layers, unit
from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array

GAMMA = 0.4
ORDER = 2


def kernel(embedding: Array) -> Array:
  """Taylor sum K_ij = sum_p exp(-2g) (2g)^p / p! (f_i.f_j)^p, g = 0.4, p = 0, 1, 2.

  The sum is that of exp(-g |f_i - f_j|^2) for |f| = 1 only, so the embeddings are
  L2-normalised first, as in published code; for long vectors the powers would exceed
  the kernel, which is at most 1.

  Args:
    embedding: one vector per image, float [B, D].

  Returns:
    [B, B].

  Source: Peng et al. 2019, the Gaussian kernel.
  """
  direction = unit(embedding)
  product = jnp.matmul(direction, direction.T, precision=lax.Precision.HIGHEST)
  return sum(
    math.exp(-2 * GAMMA) * (2 * GAMMA) ** p / math.factorial(p) * product**p
    for p in range(ORDER + 1)
  )


def rbf(student: Array, teacher: Array) -> Array:
  """Mean squared difference of the b x b kernels of one layer.

  Args:
    student: embeddings, float [B, Ds].
    teacher: embeddings, float [B, Dt].

  Returns:
    Scalar; 0 for a batch of one image. The method sums it over the layers.

  Raises:
    AssertionError: B differs.

  Source: Peng et al. 2019, the loss L_CC.
  """
  chex.assert_equal_shape_prefix([student, teacher], 1)
  return jnp.square(kernel(student) - kernel(teacher)).mean()


def delta(student: Array, teacher: Array) -> Array:
  """Short form of published code: mean over i of sum_c |d_i||d_{i+1}|, d = s - t.

  It couples each image only with the next one of the batch, and is 0 when every other
  image agrees.

  Args:
    student: embeddings, float [B, D].
    teacher: likewise.

  Returns:
    Scalar; 0 for a batch of one image. The method sums it over the layers.

  Raises:
    AssertionError: the shapes differ.
  """
  chex.assert_equal_shape([student, teacher])
  difference = jnp.abs(student - teacher)
  neighbours = (difference[:-1] * difference[1:]).sum()
  return neighbours / max(len(student) - 1, 1)


VARIANTS = {
  "rbf": Method(embed, sum_over_layers(rbf), couples_batch=True, matches=""),
  "delta": Method(embed, sum_over_layers(delta), couples_batch=True),
}
