"""Attentive imitation and hints: the better the teacher, the more it is followed.

Saputra et al. 2019 (arXiv 1908.00858).
"""

import dataclasses

import chex
import jax.numpy as jnp

from kdmri_jax.distillation._vectors import sum_over_layers
from kdmri_jax.distillation.method import Context, Method, identity
from kdmri_jax.types import Array


def trust(error: Array, error_range: Array) -> Array:
  """Phi_i = 1 - e_i/eta, kept within 0 .. 1.

  The formula would give the worst image of a training set Phi < 0 and push it away from
  the teacher; here it gets 0.

  Args:
    error: the teacher's mean squared error on each image, e, float [B].
    error_range: largest minus smallest error over the training set, eta, a scalar;
      where it is 0 the teacher is equally good on all images.

  Returns:
    [B]; 1 for eta = 0.

  Source: Saputra et al. 2019.
  """
  varies = error_range > 0
  share = jnp.where(varies, error / jnp.where(varies, error_range, 1), 0)
  return jnp.clip(1 - share, 0, 1)


def paper(student: Array, teacher: Array, context: Context) -> Array:
  """Mean over the images of Phi_i |x_S - x_T|^2, of an image or of one layer.

  |.|^2 is the mean over pixels and channels, so that a term's weight does not depend
  on the size of the image.

  Args:
    student: image or activations, float [B, H, W, C].
    teacher: likewise.
    context: its teacher's error and error range define Phi.

  Returns:
    Scalar; the method sums it over the layers.

  Raises:
    AssertionError: the shapes differ.

  Source: Saputra et al. 2019, L_AIL of an image and L_AHT of a layer.
  """
  chex.assert_equal_shape([student, teacher])
  error = jnp.square(student - teacher).mean(axis=(1, 2, 3))
  return (trust(context.teacher_error, context.error_range) * error).mean()


HINT = {"paper": Method(identity, sum_over_layers(paper), uses_context=True)}
IMITATION = {"paper": dataclasses.replace(HINT["paper"], reads_image=True)}
