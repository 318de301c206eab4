"""The layers of a deeper network, as those of a shallower one of the same kind."""

from collections.abc import Iterable, Mapping
from typing import Any

from kdmri_jax.errors import ArgumentError


def take(shallow: Any, deep: Any, path: str = "") -> Any:
  """The parameters of a shallow network, taken from a deeper one.

  Of layers that are counted, such as `conv_1` .. `conv_K`, it takes the first K - 1 and
  the last one; other layers have the same name in both. So all but the last compute
  what they do in the deeper network. With any other choice more layers would read
  features that they were not trained to read, or the last would not make an image.

  Args:
    shallow: its parameters, for names and shapes.
    deep: the parameters of the deeper network, or their shapes and types.
    path: where they are in their networks.

  Returns:
    A tree like `shallow` with leaves of `deep`.

  Raises:
    ArgumentError: the deeper network lacks a layer, or has it in another shape; names
      `start_from`.
  """
  if isinstance(shallow, Mapping):
    found = deep if isinstance(deep, Mapping) else {}
    sources = {name: _source(name, shallow, found) for name in shallow}
    return {
      name: take(shallow[name], found.get(source), f"{path}/{source}".strip("/"))
      for name, source in sources.items()
    }
  if getattr(deep, "shape", None) == shallow.shape:
    return deep
  found = f"{path} of shape {deep.shape}" if hasattr(deep, "shape") else f"no {path}"
  expected = f"{shallow.shape}, as in the network of this stage"
  remedy = "Choose networks that differ in the number of their layers alone."
  raise ArgumentError("start_from", f"{found} there", expected, remedy)


def _source(name: str, shallow: Iterable[str], deep: Iterable[str]) -> str:
  """The last layer of a count is the last one there; else it has the same name."""
  stem, number = _counted(name)
  last, last_there = (
    max((k for other, k in map(_counted, names) if other == stem), default=0)
    for names in (shallow, deep)
  )
  return f"{stem}_{last_there}" if 0 < number == last and last_there else name


def _counted(name: str) -> tuple[str, int]:
  """ "conv_3" -> ("conv", 3); the number is 0 where there is none."""
  stem, _, number = name.rpartition("_")
  return (stem, int(number)) if number.isdecimal() else (name, 0)
