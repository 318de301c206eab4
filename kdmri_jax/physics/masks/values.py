"""The values of a mask: 0 and 1, of any numeric type or bool."""

import numpy as np
from numpy.typing import ArrayLike

from kdmri_jax.errors import ArgumentError

_SHOWN = 4


def check(mask: ArrayLike, argument: str = "mask") -> None:
  """Checks that a mask holds 0 and 1 alone.

  Args:
    mask: of any numeric type or bool, of any shape.
    argument: the name of the caller's argument, for errors.

  Raises:
    ArgumentError: a value is neither 0 nor 1; names the values.
  """
  if found := other_values(mask):
    remedy = "If these points were sampled, give mask != 0."
    raise ArgumentError(argument, found, "0 (not sampled) and 1 (sampled)", remedy)


def other_values(mask: ArrayLike) -> str:
  """The values of a mask that are neither 0 nor 1, in words; "" for none."""
  values = np.asarray(mask)
  others = np.unique(values[(values != 0) & (values != 1)])
  if not others.size:
    return ""
  text = ", ".join(f"{value:g}" for value in others[:_SHOWN].tolist())
  if len(others) > _SHOWN:
    text += f" and {len(others) - _SHOWN} more"
  return f"the value{'s' if len(others) > 1 else ''} {text}, neither 0 nor 1"
