"""Imitation: the student's image follows the teacher's (KD-MRI eq. 4, L_imit)."""

import chex
import jax.numpy as jnp

from kdmri_jax.distillation.method import Method, identity
from kdmri_jax.types import Array


def paper(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """Mean absolute difference of images.

  Args:
    student: the one layer "image", float [B, H, W, C]; or several images, such as the
      branches of SFT-KD-Recon or the cascades, over which the mean is taken.
    teacher: the one layer "image", which all of them follow, or one image for each.

  Returns:
    Scalar, mean over images and pixels.

  Raises:
    AssertionError: the shapes differ.
    ValueError: several images of the teacher, but not as many as the student's.

  Source: KD-MRI eq. 4; SFT-KD-Recon.
  """
  chex.assert_equal_shape([*student, *teacher])
  followed = teacher * len(student) if len(teacher) == 1 else teacher
  pairs = zip(student, followed, strict=True)
  return sum(jnp.abs(s - t).mean() for s, t in pairs) / len(student)


def reference(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
  """As `paper`, divided once more by the number of values of the whole batch.

  The published code divides a mean by the number of elements, which leaves the
  term about a millionth of the reconstruction loss: in effect absent.
  """
  return paper(student, teacher) / student[0].size


VARIANTS = {
  "paper": Method(identity, paper, reads_image=True),
  "reference": Method(identity, reference, couples_batch=True, reads_image=True),
}
