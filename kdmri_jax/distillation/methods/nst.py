"""NST: the student's neurons select what the teacher's select.

Neuron selectivity transfer, Huang & Wang 2017 (arXiv 1707.01219).
"""

import jax.numpy as jnp
from jax import lax

from kdmri_jax.distillation._vectors import sum_over_layers, unit
from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array


def represent(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """Each channel's map divided by its norm, [B, H, W, C]; an inactive one stays 0."""
  return tuple(unit(feature, axis=(1, 2)) for feature in features)


def _mean_kernel(a: Array, b: Array) -> Array:
  """Mean of (f_i.f_j)^2 over the channels i of a and j of b: d = 2, c = 0."""
  gram = jnp.einsum("bhwi,bhwj->bij", a, b, precision=lax.Precision.HIGHEST)
  return jnp.square(gram).mean()


def paper(student: Array, teacher: Array) -> Array:
  """Squared maximum mean discrepancy of the channels' maps, polynomial kernel.

  mean k(t,t') + mean k(s,s') - 2 mean k(s,t) with k(x,y) = (x.y)^2. Only products of
  channels are stored, Cs x Ct numbers per image, never products of pixels.

  Args:
    student: normalised maps, float [B, H, W, Cs].
    teacher: normalised maps, float [B, H, W, Ct].

  Returns:
    Scalar, mean over the images; the method sums it over the layers.

  Raises:
    ValueError: B, H or W differ.

  Source: Huang & Wang 2017, MMD^2 with the polynomial kernel.
  """
  own = _mean_kernel(student, student) + _mean_kernel(teacher, teacher)
  return own - 2 * _mean_kernel(student, teacher)


VARIANTS = {"paper": Method(represent, sum_over_layers(paper), matches="size")}
