"""Says where a crop that is larger than the images has added zeros around them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kdmri_jax.data.split import counted


def notes(records: Iterable[Mapping[str, Any]]) -> list[str]:
  """One sentence on all volumes that were padded; none where none was.

  Args:
    records: of the volumes; of prepared ones also the record of the preparation counts.
  """
  padded: Counter[tuple[str, str]] = Counter()
  for record in records:
    steps = {_sizes(each) for each in (record, record.get("prepared_from") or {})}
    padded.update(steps - {None})
  if not padded:
    return []
  sizes = ", ".join(
    f"from {before} to {after} ({counted(count, 'volume')})"
    for (before, after), count in sorted(padded.items())
  )
  return [
    f"The crop is larger than the images: they are padded with zeros, {sizes}. These "
    "zeros count in every metric, so do not compare it with one of unpadded images."
  ]


def _sizes(record: Mapping[str, Any]) -> tuple[str, str] | None:
  """The sizes of the slices before and after padding, rows x columns."""
  before, after = (record.get(key, ())[-2:] for key in ("stored_shape", "shape"))
  if not any(new > old for old, new in zip(before, after, strict=False)):
    return None
  return "x".join(map(str, before)), "x".join(map(str, after))
