"""CWD: each channel attends to the pixels that the teacher's attends to.

Channel-wise distillation, Shu et al. 2021 (arXiv 2011.13256).
"""

import chex
import jax
import jax.numpy as jnp

from kdmri_jax.distillation._vectors import sum_over_layers
from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array

TEMPERATURE = 4.0


def represent(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """log phi: log softmax over the pixels of each channel divided by the temperature 4.

  Args:
    features: activations, float [B, H, W, C].

  Returns:
    One [B, H, W, C] per layer.

  Source: Shu et al. 2021, phi.
  """
  return tuple(
    jax.nn.log_softmax(feature / TEMPERATURE, axis=(1, 2)) for feature in features
  )


def paper(student: Array, teacher: Array) -> Array:
  """tau^2/C sum_c sum_hw phi_T log(phi_T/phi_S) of one layer, tau = 4.

  Args:
    student: log phi_S, float [B, H, W, C].
    teacher: log phi_T, likewise.

  Returns:
    Scalar, mean over the images; the method sums it over the layers. 0 when the maps
    agree up to a constant per channel.

  Raises:
    AssertionError: the shapes differ.

  Source: Shu et al. 2021.
  """
  chex.assert_equal_shape([student, teacher])
  phi_s, phi_t = jnp.exp(student), jnp.exp(teacher)
  # phi_S - phi_T adds up to 0, and cancels the rounding of the two normalisations.
  terms = phi_t * (teacher - student) + (phi_s - phi_t)
  return TEMPERATURE**2 * terms.sum(axis=(1, 2)).mean()


VARIANTS = {"paper": Method(represent, sum_over_layers(paper))}
