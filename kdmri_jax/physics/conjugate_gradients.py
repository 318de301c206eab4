"""Conjugate gradients for many images at once, each with step sizes of its own."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from kdmri_jax.types import Array

_TOLERANCE = 1e-6


def solve(
  operator: Callable[[Array], Array],
  target: Array,
  *,
  iterations: int,
  reference: Array | None = None,
) -> Array:
  """The x of operator(x) = target, by conjugate gradients from 0.

  The derivative is that of the iterations themselves, so it is exact for any number of
  them. An image that has converged no longer changes, so its result does not depend on
  the others.

  Args:
    operator: linear, Hermitian and positive semidefinite on each image.
    target: complex [..., H, W], in the range of the operator.
    iterations: their largest number.
    reference: an image has converged when the norm of its residual is 1e-6 of that of
      its reference; the target by default. Give the data where the target may be a
      difference of rounding errors.

  Returns:
    Same shape; of all solutions the one of the smallest norm.

  Source: Hestenes & Stiefel 1952.
  """
  first = _squares(target)
  least = _TOLERANCE**2 * (first if reference is None else _squares(reference))

  def iterate(state, _):
    x, residual, direction, size = state
    runs = size > least
    image = operator(direction)
    curvature = jnp.real(jnp.conj(direction) * image).sum((-2, -1), keepdims=True)
    runs &= curvature > 0
    step = jnp.where(runs, size / jnp.where(runs, curvature, 1), 0)
    x, residual = x + step * direction, residual - step * image
    new = jnp.where(runs, _squares(residual), size)
    ratio = jnp.where(runs, new / jnp.where(runs, size, 1), 0)
    return (x, residual, residual + ratio * direction, new), None

  start = jnp.zeros_like(target), target, target, first
  return lax.scan(iterate, start, length=iterations)[0][0]


def _squares(image):
  """The sum of squares of each image, [..., 1, 1]."""
  return (jnp.real(image) ** 2 + jnp.imag(image) ** 2).sum((-2, -1), keepdims=True)
