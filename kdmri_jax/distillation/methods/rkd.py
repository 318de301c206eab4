"""RKD: distances and angles between images (Park et al. 2019, arXiv 1904.05068).

Relational distillation compares embeddings. Here the embedding of an image is
`_vectors.embed`: its maps, averaged to at most 16x16.
"""

import chex
import jax.numpy as jnp
import optax
from jax import lax

from kdmri_jax.distillation._vectors import embed, sum_over_layers, unit
from kdmri_jax.distillation.method import Method
from kdmri_jax.ops.norm import norm
from kdmri_jax.types import Array

DISTANCE, ANGLE = 25, 50


def _differences(embedding: Array) -> Array:
  """e_j - e_i, [B, B, D]; exactly 0 for i = j, which rounding under jit may miss."""
  same = jnp.eye(len(embedding), dtype=bool)[..., None]
  return jnp.where(same, 0, embedding - embedding[:, None])


def distances(embedding: Array) -> Array:
  """|e_i - e_j| divided by its mean over the pairs i != j.

  Args:
    embedding: one vector per image, float [B, D].

  Returns:
    [B, B]; 0 where all images agree.

  Source: Park et al. 2019, the potential psi_D.
  """
  length = norm(_differences(embedding))[..., 0]
  images = len(embedding)
  mean = length.sum() / max(images * (images - 1), 1)
  return length / jnp.where(mean > 0, mean, 1)


def angles(embedding: Array) -> Array:
  """Cosine of the angle at image i between the images j and k.

  Args:
    embedding: one vector per image, float [B, D].

  Returns:
    [B, B, B] with axes i, j, k; 0 where i is j or k.

  Source: Park et al. 2019, the potential psi_A.
  """
  direction = unit(_differences(embedding))
  precision = lax.Precision.HIGHEST
  return jnp.einsum("ijd,ikd->ijk", direction, direction, precision=precision)


def paper(student: Array, teacher: Array) -> Array:
  """25 x distances + 50 x angles of one layer, each the mean smooth L1.

  The means run over all b^2 pairs and b^3 triples, where the paper sums over the
  tuples of different images; the other tuples add nothing.

  Args:
    student: embeddings, float [B, Ds].
    teacher: embeddings, float [B, Dt].

  Returns:
    Scalar; 0 for a batch of one image. The method sums it over the layers.

  Raises:
    AssertionError: B differs.

  Source: Park et al. 2019, RKD-DA with the weights of its classification study.
  """
  chex.assert_equal_shape_prefix([student, teacher], 1)
  by_distance = optax.huber_loss(distances(student), distances(teacher)).mean()
  by_angle = optax.huber_loss(angles(student), angles(teacher)).mean()
  return DISTANCE * by_distance + ANGLE * by_angle


VARIANTS = {
  "paper": Method(embed, sum_over_layers(paper), couples_batch=True, matches="")
}
