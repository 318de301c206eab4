"""One key of the schema: its default, its limits, and whether it is free."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from kdmri_jax.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Limits:
  """The allowed values, beside the type.

  Attributes:
    least: smallest number; None for no bound.
    most: largest number, math.inf to allow infinity; None for any finite one.
    choices: the allowed values; () allows all.
    free: whether the key changes only the speed of a run or its report, not the
      training. A run may be resumed with other values of its free keys.
  """

  least: float | None = None
  most: float | None = None
  choices: Sequence = ()
  free: bool = False

  def __str__(self) -> str:
    """The limits as text, such as "a number from 0 to 1"; "" without any."""
    if self.choices:
      return "one of " + ", ".join(choice or "''" for choice in self.choices)
    upper = self.most is not None and math.isfinite(self.most)
    if self.least is not None and upper:
      return f"a number from {self.least:g} to {self.most:g}"
    if self.least is not None:
      return f"a number of at least {self.least:g}"
    return f"a number of at most {self.most:g}" if upper else ""

  def check(self, name: str, value: Any) -> None:
    """Checks a value, or each number of a tuple.

    Raises:
      ArgumentError: the value is outside the limits; `name` is the argument.
    """
    if self.choices and value not in self.choices:
      raise ArgumentError(name, repr(value), str(self))
    for number in value if isinstance(value, tuple) else (value,):
      if is_number(number) and not self._contain(number):
        raise ArgumentError(name, f"{value}", str(self) or "a finite number")

  def _contain(self, number: float) -> bool:
    least = -math.inf if self.least is None else self.least
    if self.most is None:
      return math.isfinite(number) and least <= number
    return least <= number <= self.most


class Settings:
  """A group of settings: a dataclass that checks the limits of its values.

  Raises:
    ArgumentError: a value is outside the limits of its key.
  """

  def __post_init__(self):
    for field in dataclasses.fields(self):
      limits(field).check(field.name, getattr(self, field.name))


def setting(
  default: Any,
  *,
  least: float | None = None,
  most: float | None = None,
  choices: Sequence = (),
  free: bool = False,
) -> Any:
  """A field of a dataclass of the schema.

  Args:
    default: the value of a missing key; or a callable that creates it, such as the
      dataclass of a group of settings.
    least: see `Limits`, as `most`, `choices` and `free`.
  """
  metadata = {"limits": Limits(least, most, choices, free)}
  if isinstance(default, Callable):
    return dataclasses.field(default_factory=default, metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


def limits(field: dataclasses.Field) -> Limits:
  """The limits of a field; a field without default has none of its own."""
  return field.metadata.get("limits", Limits())


def is_number(value: Any) -> bool:
  """Whether the value is an int or float; bool is neither."""
  return isinstance(value, int | float) and not isinstance(value, bool)
