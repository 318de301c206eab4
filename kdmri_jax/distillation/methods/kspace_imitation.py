"""k-space imitation: the student follows the teacher where nothing was measured.

Data consistency gives student and teacher the same k-space on the sampled lines, so
there is nothing to imitate. This is exact for complex images. For a real image the real
part is taken afterwards, which averages k-space at k and -k: a sampled line whose
mirror image is not sampled is only half fixed. Omitting it loses nothing: the
difference of two real images has the same magnitude at k and -k, so the mirror image
shows it. The magnitude at unsampled k thus weights every frequency by 1 - (M(k) +
M(-k))/2, the share that data consistency leaves to the network.
"""

import chex
import jax.numpy as jnp
from jax import lax

from kdmri_jax.distillation.method import Context, Method, identity
from kdmri_jax.physics import fourier
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.types import Array


def l1(student: tuple[Array], teacher: tuple[Array], context: Context) -> Array:
  """Mean of |F(x_S - x_T)| over the frequencies that were not sampled.

  Args:
    student: the one layer "image", float [B, H, W, C], C = 1 or 2.
    teacher: likewise.
    context: its measurement holds the mask, [H, W] or [B, H, W].

  Returns:
    Scalar, mean over the images; 0 for a full mask, with gradient 0 where the two
    agree. The transform is orthonormal, so intensities keep their scale.

  Raises:
    ValueError: more than one layer, or C is neither 1 nor 2.
    ArgumentError: the mask has other values than 0 and 1.
    AssertionError: the shapes differ, or the mask's does not fit.
  """
  return _mean_unsampled(jnp.abs(_difference(student, teacher)), context)


def l2(student: tuple[Array], teacher: tuple[Array], context: Context) -> Array:
  """Mean of |F(x_S - x_T)|^2; arguments and errors as `l1`."""
  difference = _difference(student, teacher)
  square = jnp.square(difference.real) + jnp.square(difference.imag)
  return _mean_unsampled(square, context)


def _difference(student: tuple[Array], teacher: tuple[Array]) -> Array:
  """F(x_S - x_T), complex [B, H, W]."""
  (student,), (teacher,) = student, teacher
  chex.assert_equal_shape([student, teacher])
  if student.shape[-1] not in (1, 2):
    raise ValueError(f"an image has 1 or 2 channels, not {student.shape[-1]}")
  parts = jnp.moveaxis(student - teacher, -1, 0)
  return fourier.fft2(parts[0] if len(parts) == 1 else lax.complex(*parts))


def _mean_unsampled(error: Array, context: Context) -> Array:
  unsampled = ~is_sampled(context.measurement.mask)
  chex.assert_equal_shape_suffix([error, unsampled], 2)
  count = jnp.maximum(unsampled.sum(axis=(-2, -1)), 1)
  return (jnp.where(unsampled, error, 0).sum(axis=(-2, -1)) / count).mean()


VARIANTS = {
  "l1": Method(identity, l1, uses_context=True, reads_image=True),
  "l2": Method(identity, l2, uses_context=True, reads_image=True),
}
