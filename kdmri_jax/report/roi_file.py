"""Reads the regions in which the signal-to-noise ratio is measured."""

import csv
import pathlib
from collections.abc import Mapping, Sequence

from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.io.reading import refuse_special
from kdmri_jax.metrics import roi_snr
from kdmri_jax.metrics.roi_snr import Roi

_FIELDS = ("volume", "slice", "row", "column", "height", "width")


def read(
  path: pathlib.Path, shapes: Mapping[str, Sequence[int]]
) -> dict[str, list[Roi]]:
  """Reads regions from a CSV file.

  Args:
    path: a file with the header volume,slice,row,column,height,width and one line per
      region; numbers count from 0.
    shapes: volume -> (slices, rows, columns).

  Returns:
    Volume -> list of `Roi`.

  Raises:
    UserError: the file cannot be read, names an unknown volume, or a region is not
      within its volume or has fewer than two pixels.
  """
  expected = f"a CSV file with the header {','.join(_FIELDS)}"
  refuse_special(path)
  try:
    with open(path, newline="", encoding="utf-8-sig") as file:
      reader = csv.DictReader(file)
      header, lines = reader.fieldnames or ["(none)"], list(reader)
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise UserError(path, f"a file that cannot be read ({error})", expected) from error
  if set(header) != set(_FIELDS):
    raise UserError(path, f"the header {','.join(header)}", expected)
  regions: dict[str, list[Roi]] = {}
  for number, line in enumerate(lines, 2):
    where = f"{path}, line {number}"
    if line["volume"] not in shapes:
      raise UserError(where, repr(line["volume"]), f"one of {', '.join(shapes)}")
    try:
      roi = Roi(*(int(line[field]) for field in _FIELDS[1:]))
    except (TypeError, ValueError) as error:
      raise UserError(where, f"{error}", "whole numbers") from error
    with arguments_of(f"{where}, "):
      roi_snr.check(roi, shapes[line["volume"]])
    regions.setdefault(line["volume"], []).append(roi)
  if not regions:
    raise UserError(path, "no region", "at least one line")
  return regions
