"""Packages whose names are imported when they are first used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def attributes(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
  """The `__getattr__` of a package.

  Args:
    package: its name.
    places: each name that it offers -> the module within the package that is, or has,
      the object: "module" or "module:attribute".
  """

  def find(name: str) -> Any:
    if name not in places:
      raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, attribute = places[name].partition(":")
    found = importlib.import_module(f"{package}.{module}")
    return getattr(found, attribute) if attribute else found

  return find
