"""Where a mask samples."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from kdmri_jax.physics.masks import values
from kdmri_jax.types import Array


def is_sampled(mask: ArrayLike) -> Array:
  """Where a mask samples.

  Args:
    mask: 0 and 1 of any numeric type or bool, of any shape. A mask that jit traces has
      no values yet and is not checked; every value but 0 then counts as 1.

  Returns:
    bool, in the shape of the mask.

  Raises:
    ArgumentError: a value is neither 0 nor 1; names the values.
  """
  if not isinstance(mask, jax.core.Tracer):
    values.check(mask)
  return jnp.asarray(mask) != 0
