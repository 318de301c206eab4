"""Imitation: the student's image follows the teacher's (KD-MRI eq. 4, L_imit)."""

import chex
import jax.numpy as jnp

from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array


def paper(student: tuple[Array, ...], teacher: tuple[Array]) -> Array:
  """Mean absolute difference of images.

  Args:
    student: the one layer "image", float [B, H, W, C]; or several images, such as the
      branches of SFT-KD-Recon, over which the mean is taken.
    teacher: the one layer "image".

  Returns:
    Scalar, mean over images and pixels.

  Raises:
    AssertionError: the shapes differ.

  Source: KD-MRI eq. 4; SFT-KD-Recon.
  """
  (teacher,) = teacher
  chex.assert_equal_shape([*student, teacher])
  return sum(jnp.abs(image - teacher).mean() for image in student) / len(student)


def reference(student: tuple[Array, ...], teacher: tuple[Array]) -> Array:
  """As `paper`, divided once more by the number of values of the whole batch.

  The published code divides a mean by the number of elements, which leaves the
  term about a millionth of the reconstruction loss: in effect absent.
  """
  return paper(student, teacher) / student[0].size


VARIANTS = {
  "paper": Method(identity, paper, reads_image=True),
  "reference": Method(identity, reference, couples_batch=True, reads_image=True),
}
