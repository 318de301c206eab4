"""Teacher-bounded imitation: no lesson where the student is already better.

Chen et al. 2017 (NeurIPS, "Learning efficient object detection models with knowledge
distillation") take the teacher's error as an upper bound for the student's, with a
margin, here 0. Beyond the bound they use the distance to the target ("paper"); Saputra
et al. 2019 (arXiv 1908.00858) imitate the teacher under the same bound ("image").
"pixel" applies it at each pixel.
"""

import chex
import jax.numpy as jnp

from kdmri_jax.distillation.method import Context, Method, identity
from kdmri_jax.losses import pixel
from kdmri_jax.types import Array


def paper(student: tuple[Array], teacher: tuple[Array], context: Context) -> Array:
  """|x_S - x|^2 of the images where it exceeds |x_T - x|^2, else 0.

  Args:
    student: the one layer "image", float [B, H, W, C].
    teacher: likewise.
    context: its target is x.

  Returns:
    Scalar, mean over pixels and images. The bound itself has no gradient.

  Raises:
    ValueError: more than one layer.
    AssertionError: the shapes differ.

  Source: Chen et al. 2017, the bounded regression loss L_b.
  """
  (student,), (teacher,) = student, teacher
  error, bound = (pixel.mse(x, context.target) for x in (student, teacher))
  return jnp.where(error > bound, error, 0).mean()


def image(student: tuple[Array], teacher: tuple[Array], context: Context) -> Array:
  """|x_S - x_T|^2 of the images where |x_S - x|^2 > |x_T - x|^2, else 0.

  Arguments, result and errors as `paper`.

  Source: Saputra et al. 2019, the teacher's loss as an upper bound.
  """
  (student,), (teacher,) = student, teacher
  error, bound = (pixel.mse(x, context.target) for x in (student, teacher))
  return jnp.where(error > bound, pixel.mse(student, teacher), 0).mean()


def by_pixel(student: tuple[Array], teacher: tuple[Array], context: Context) -> Array:
  """As `image`, decided at each pixel; the channels of a complex pixel decide as one.

  Arguments, result and errors as `paper`.
  """
  (student,), (teacher,) = student, teacher
  chex.assert_equal_shape([student, teacher, context.target])
  errors = (jnp.square(x - context.target) for x in (student, teacher))
  error, bound = (e.sum(axis=-1, keepdims=True) for e in errors)
  return jnp.where(error > bound, jnp.square(student - teacher), 0).mean()


VARIANTS = {
  "paper": Method(identity, paper, uses_context=True, reads_image=True),
  "image": Method(identity, image, uses_context=True, reads_image=True),
  "pixel": Method(identity, by_pixel, uses_context=True, reads_image=True),
}
