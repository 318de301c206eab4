"""JSON as this package writes it: valid everywhere, records with a checksum.

JSON has no number that is not finite. So NaN is written as null, the infinities as the
texts "inf" and "-inf"; `number` reads them back. Files with Python's own spelling (NaN,
Infinity, -Infinity) are read in the same way.
"""

import json
import zlib
from collections.abc import Mapping, Sequence, Set
from typing import Any

_CHECKSUM = "crc32"
_CONSTANTS = {"NaN": None, "Infinity": "inf", "-Infinity": "-inf"}


def dumps(value: Any, indent: int | None = None, *, compact: bool = False) -> str:
  """A value as JSON, perhaps without spaces; arrays become lists, other types text."""
  separators = (",", ":") if compact else None
  return json.dumps(plain(value), indent=indent, separators=separators, allow_nan=False)


def loads(text: str) -> Any:
  """The value of a JSON text, as `plain` gives it.

  Raises:
    ValueError: the text is not JSON.
    RecursionError: it is nested too deeply.
  """
  return json.loads(text, parse_constant=_CONSTANTS.get)


def plain(value: Any) -> Any:
  """A copy in JSON's types: what `loads` reads where `dumps` wrote the value."""
  return loads(json.dumps(value, default=_known))


def is_number(value: Any) -> bool:
  """Whether a value from `loads` may stand for a number, finite or not."""
  if isinstance(value, int | float):
    return not isinstance(value, bool)
  return value in _CONSTANTS.values()


def number(value: Any) -> float:
  """The number for which a value from `loads` stands; null is NaN."""
  return float("nan" if value is None else value)


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
  """The record in JSON's types, with a checksum of its content."""
  found = plain(record)
  return found | {_CHECKSUM: checksum(found)}


def unsealed(record: Mapping[str, Any]) -> dict[str, Any]:
  """The record without its checksum; earlier versions wrote none.

  Raises:
    ValueError: the content is not that of the checksum.
  """
  found = dict(record)
  if _CHECKSUM in found and found.pop(_CHECKSUM) != checksum(found):
    raise ValueError("its content has changed since it was written")
  return found


def checksum(value: Any) -> str:
  """CRC-32 of a value as JSON."""
  return f"{zlib.crc32(dumps(value).encode()):08x}"


def _known(value: Any) -> Any:
  """A value of another type as one that JSON knows."""
  if hasattr(value, "tolist"):
    return value.tolist()
  if isinstance(value, Set | Sequence) and not isinstance(value, bytes):
    return list(value)
  if isinstance(value, Mapping):
    return dict(value)
  return str(value)
