"""The values of a mask: 0 and 1, of any numeric type or bool."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.types import Array

_SHOWN = 4


def is_sampled(mask: ArrayLike, argument: str = "mask") -> Array:
  """Where a mask samples.

  Args:
    mask: 0 and 1 of any numeric type or bool, of any shape. A mask that jit traces has
      no values yet and is not checked; what is not 0 then counts as 1.
    argument: the name of the caller's argument, for errors.

  Returns:
    bool, in the shape of the mask.

  Raises:
    ArgumentError: a value is neither 0 nor 1; names the values.
  """
  if not isinstance(mask, jax.core.Tracer) and (found := other_values(mask)):
    remedy = "If these points were sampled, give mask != 0."
    raise ArgumentError(argument, found, "0 (not sampled) and 1 (sampled)", remedy)
  return jnp.asarray(mask) != 0


def other_values(mask: ArrayLike) -> str:
  """The values of a concrete mask that are neither 0 nor 1, in words; "" for none."""
  values = np.asarray(mask)
  others = np.unique(values[(values != 0) & (values != 1)])
  if not others.size:
    return ""
  text = ", ".join(f"{value:g}" for value in others[:_SHOWN].tolist())
  if len(others) > _SHOWN:
    text += f" and {len(others) - _SHOWN} more"
  kind = f"the value{'s' if len(others) > 1 else ''} {text}"
  return f"{kind}, neither 0 nor 1"
