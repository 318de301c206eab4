"""The keys of the schema: their types, defaults, limits, and which are free."""

import dataclasses
import functools
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any

from kdmri_jax.errors import ArgumentError

_LARGEST = sys.float_info.max


@dataclasses.dataclass(frozen=True)
class Limits:
  """The allowed values, beside the type.

  Attributes:
    least: smallest number, by default any finite one.
    most: largest number, by default any finite one; math.inf allows infinity.
    choices: the allowed values; () allows all.
    free: whether the key changes only the speed of a run or its report, not the
      training. A run may be resumed with other values of its free keys.
    place: whether the value is the place of a file or folder.
  """

  least: float = -_LARGEST
  most: float = _LARGEST
  choices: Sequence = ()
  free: bool = False
  place: bool = False

  def __str__(self) -> str:
    """The limits as text, such as "a number from 0 to 1"; "" without any."""
    if self.choices:
      return "one of " + ", ".join(choice or "''" for choice in self.choices)
    has_least, has_most = self.least > -_LARGEST, self.most < _LARGEST
    if has_least and has_most:
      return f"a number from {self.least:g} to {self.most:g}"
    if has_least:
      return f"a number of at least {self.least:g}"
    return f"a number of at most {self.most:g}" if has_most else ""

  def check(self, name: str, value: Any) -> None:
    """Checks a value, or each number of a tuple.

    Raises:
      ArgumentError: the value is outside the limits; `name` is the argument.
    """
    if self.choices and value not in self.choices:
      raise ArgumentError(name, repr(value), str(self))
    for number in value if isinstance(value, tuple) else (value,):
      if is_number(number) and not self.least <= number <= self.most:
        raise ArgumentError(name, f"{value}", str(self) or "a finite number")


@dataclasses.dataclass(frozen=True)
class Settings:
  """A group of settings: a dataclass that checks the limits of its values.

  Raises:
    ArgumentError: a value is outside the limits of its key.
  """

  def __post_init__(self):
    for name, key in keys(type(self)).items():
      key.limits.check(name, getattr(self, name))


def setting(default: Any, **limits: Any) -> Any:
  """A field of a dataclass of the schema.

  Args:
    default: the value of a missing key; or a callable that creates it, such as the
      dataclass of a group of settings.
    **limits: attributes of `Limits`.
  """
  metadata = {"limits": Limits(**limits)}
  if isinstance(default, Callable):
    return dataclasses.field(default_factory=default, metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


class Key(typing.NamedTuple):
  """A key of a group of settings.

  Attributes:
    type: the type of its value.
    default: the value of a missing key; `dataclasses.MISSING` where it must be set.
    limits: its limits.
  """

  type: Any
  default: Any
  limits: Limits

  @property
  def group(self) -> Any:
    """The group of settings that is its value, or each of its values by name."""
    kind = (typing.get_args(self.type) or (self.type,))[-1]
    return kind if dataclasses.is_dataclass(kind) else None

  @property
  def is_named(self) -> bool:
    """Whether it holds several groups by name."""
    return self.group is not self.type


@functools.cache
def keys(kind: type) -> dict[str, Key]:
  """The keys of a group of settings by name."""
  types, found = typing.get_type_hints(kind), {}
  for field in dataclasses.fields(kind):
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
      default = field.default_factory()
    limits = field.metadata.get("limits", Limits())
    found[field.name] = Key(types[field.name], default, limits)
  return found


def is_number(value: Any) -> bool:
  """Whether the value is an int or float; bool is neither."""
  return isinstance(value, int | float) and not isinstance(value, bool)
