"""The Euclidean norm, with a gradient everywhere."""

import jax.numpy as jnp

from kdmri_jax.types import Array

_TINY = 1e-12


def norm(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
  """|x|_2 along the axes, which are kept with length 1.

  Below 1e-12 the result is 0 with gradient 0; the square root alone has no gradient
  there.
  """
  square = jnp.square(x).sum(axis=axis, keepdims=True)
  alive = square > _TINY**2
  return jnp.where(alive, jnp.sqrt(jnp.where(alive, square, 1)), 0)
