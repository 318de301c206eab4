"""Imitation: the student's image follows the teacher's (KD-MRI eq. 4, L_imit)."""

import chex
import jax.numpy as jnp

from kdmri_jax.distillation.method import Method
from kdmri_jax.types import Array


def paper(student: tuple[Array], teacher: tuple[Array]) -> Array:
  """Mean absolute difference of two images.

  Args:
    student: the one layer "image", float [B, H, W, C].
    teacher: likewise.

  Returns:
    Scalar, mean over images and pixels.

  Raises:
    AssertionError: the shapes differ.

  Source: KD-MRI eq. 4.
  """
  (student,), (teacher,) = student, teacher
  chex.assert_equal_shape([student, teacher])
  return jnp.abs(student - teacher).mean()


def reference(student: tuple[Array], teacher: tuple[Array]) -> Array:
  """As `paper`, divided once more by the number of values of the whole batch.

  The published code divides a mean by the number of elements, which leaves the
  term about a millionth of the reconstruction loss: in effect absent.
  """
  return paper(student, teacher) / student[0].size


def represent(images: tuple[Array]) -> tuple[Array]:
  """The image itself."""
  return images


VARIANTS = {
  "paper": Method(represent, paper),
  "reference": Method(represent, reference, couples_batch=True),
}
