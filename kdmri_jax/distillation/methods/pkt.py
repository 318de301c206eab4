"""PKT: the same neighbours with the same probability (Passalis & Tefas 2018).

Probabilistic knowledge transfer compares embeddings. Here the embedding of an image is
`_vectors.embed`: its maps, averaged to at most 16x16.
"""

import chex
import jax.numpy as jnp
from jax import lax

from kdmri_jax.distillation._vectors import embed, sum_over_layers, unit
from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array

_TINY = 1e-7


def probabilities(embedding: Array) -> Array:
  """p_j|i = K_ij / sum_k K_ik with the cosine kernel K = (cos + 1)/2.

  Args:
    embedding: one vector per image, float [B, D].

  Returns:
    [B, B]; each row adds up to 1. An image without activity has cosine 0 with every
    image.

  Source: Passalis & Tefas 2018 (ECCV, arXiv 1803.10837).
  """
  direction = unit(embedding)
  cosine = jnp.matmul(direction, direction.T, precision=lax.Precision.HIGHEST)
  similarity = (cosine + 1) / 2
  return similarity / similarity.sum(axis=1, keepdims=True)


def reference(student: Array, teacher: Array) -> Array:
  """Mean of p_T log((p_T + 1e-7)/(p_S + 1e-7)) over the b x b pairs of one layer.

  The paper sums over j != i; published code takes the mean and keeps the diagonal.

  Args:
    student: embeddings, float [B, Ds].
    teacher: embeddings, float [B, Dt].

  Returns:
    Scalar; 0 for a batch of one image. The method sums it over the layers.

  Raises:
    AssertionError: B differs.

  Source: Passalis & Tefas 2018; published code.
  """
  chex.assert_equal_shape_prefix([student, teacher], 1)
  p_s, p_t = probabilities(student), probabilities(teacher)
  log_ratio = -jnp.log1p((p_s - p_t) / (p_t + _TINY))
  # p_S - p_T adds up to 0, and cancels the rounding of the logarithms' sum.
  return (p_t * log_ratio + (p_s - p_t)).mean()


VARIANTS = {
  "reference": Method(embed, sum_over_layers(reference), couples_batch=True, matches="")
}
