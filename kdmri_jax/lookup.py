"""Finds a loss, method, network ... by a registered name or `package.module:name`."""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from kdmri_jax.errors import ArgumentError


def find(kind: str, name: str, registered: Mapping[str, Any]) -> Any:
  """The object that a name refers to.

  Args:
    kind: the argument's name in errors, such as "loss".
    name: a key of `registered`, or the import path `package.module:name`.
    registered: the objects of this package by name.

  Returns:
    The registered or imported object; the caller checks its type.

  Raises:
    ArgumentError: the name is unknown, or the import fails.
  """
  if name in registered:
    return registered[name]
  module, _, attribute = name.partition(":")
  if not attribute:
    raise unknown(kind, name, registered, ", or package.module:name")
  try:
    part: Any = importlib.import_module(module)
    for step in attribute.split("."):
      part = getattr(part, step)
  except (Exception, SystemExit) as error:  # the module is the user's own
    found = f"{name!r} ({type(error).__name__}: {error})"
    expected = "an import path package.module:name"
    remedy = "Install the package, or add its folder to PYTHONPATH."
    raise ArgumentError(kind, found, expected, remedy) from error
  return part


def unknown(
  argument: str, name: str, known: Iterable[str], more: str = ""
) -> ArgumentError:
  """The error for a name that is none of the known ones; suggests the closest."""
  known = list(known)
  expected = f"one of {', '.join(known) or '(none)'}{more}"
  return ArgumentError(argument, repr(name), expected, suggestion(name, known))


def suggestion(name: str, known: Iterable[str]) -> str:
  """ "Did you mean" the most similar of the known names; "" where none is similar."""
  close = difflib.get_close_matches(name, list(known), n=1)
  return f"Did you mean {close[0]!r}?" if close else ""
