"""CG-SENSE: the classical reconstruction of several coils."""

import numbers

import jax
import numpy as np
from jax.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics import conjugate_gradients, fourier
from kdmri_jax.physics.coils.operator import adjoint, normal
from kdmri_jax.types import Array

_LAM, _ITERATIONS = 0.01, 30


def cg_sense(
  kspace: ArrayLike,
  sensitivities: ArrayLike,
  mask: ArrayLike,
  *,
  lam: float = _LAM,
  iterations: int = _ITERATIONS,
) -> Array:
  """The image x of the smallest |A x - y|^2 + lam |x|^2, by conjugate gradients.

  Args:
    kspace: y, complex [..., C, H, W]; what is outside the mask is ignored.
    sensitivities: complex [..., C, H, W].
    mask: [H, W] or [..., H, W]; 1 = sampled, 0 = not.
    lam: weight of the second term, from 0. Where the sensitivities' root sum of
      squares is 1, the eigenvalues of A^H A are 0 to 1.
    iterations: of the conjugate gradients, which end earlier when they have converged.

  Returns:
    complex64 [..., H, W].

  Raises:
    ArgumentError: the shapes do not fit, the mask has other values, or a setting is
      out of range.

  Source: Pruessmann et al. 2001.
  """
  if not 0 <= lam < np.inf:
    raise ArgumentError("lam", f"{lam}", "a finite weight from 0")
  if not (isinstance(iterations, numbers.Integral) and iterations >= 1):
    raise ArgumentError("iterations", f"{iterations!r}", "a whole number from 1")
  zero_filled = adjoint(kspace, sensitivities, mask)
  return _solve(zero_filled, sensitivities, mask, lam, iterations)


@jax.jit
def from_zero_filled(
  zero_filled: Array, sensitivities: ArrayLike, mask: ArrayLike
) -> Array:
  """The same from A^H y, which is all that it needs, with the default settings.

  Args:
    zero_filled: A^H y, float32 [B, H, W, 2].
    sensitivities: complex [C, H, W].
    mask: [H, W]; 1 = sampled, 0 = not.

  Returns:
    float32 [B, H, W, 2].
  """

  def one(image):
    return _solve(image, sensitivities, mask, _LAM, _ITERATIONS)

  images = jax.lax.map(one, fourier.to_complex(zero_filled))  # one at a time: memory
  return fourier.from_complex(images, 2)


@jax.jit(static_argnums=4)
def _solve(zero_filled, sensitivities, mask, lam, iterations):
  apply = normal(sensitivities, mask)

  def operator(image):
    return apply(image) + lam * image

  return conjugate_gradients.solve(operator, zero_filled, iterations=iterations)
