"""Signal-to-noise ratio in regions of homogeneous tissue."""

import csv
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.ndimage

from kdmri_jax.errors import UserError

_TISSUE = 0.3  # of the volume's bright level; below lie air and the dark parts
_BRIGHT = 99  # percentile
_FIELDS = ("volume", "slice", "row", "column", "height", "width")


class Roi(NamedTuple):
  """A rectangle in a slice of a volume; rows and columns count from 0."""

  slice: int
  row: int
  column: int
  height: int
  width: int

  def cut(self, volume: np.ndarray) -> np.ndarray:
    """Its pixels of a volume [S, H, W]."""
    rows = slice(self.row, self.row + self.height)
    columns = slice(self.column, self.column + self.width)
    return volume[self.slice, rows, columns]


def snr(volume: np.ndarray, roi: Roi) -> float:
  """Mean over standard deviation (n - 1) of the region; inf without any deviation.

  Source: Shou et al. (ISMRM), SNR of a region.
  """
  pixels = roi.cut(volume).astype(np.float64)
  deviation = pixels.std(ddof=1)
  return float(pixels.mean() / deviation) if deviation > 0 else math.inf


def find(target: np.ndarray, count: int = 4, side: int = 9) -> list[Roi]:
  """The most homogeneous squares of tissue in a volume.

  Homogeneous is a square whose standard deviation is small against its mean; it must
  lie in tissue as a whole. Squares do not overlap, and no slice gives two as long as
  another one has none.

  Args:
    target: fully sampled magnitude, [S, H, W].
    count: how many to find at most.
    side: rows and columns of a square.

  Returns:
    Squares by slice and place; fewer than `count` where there is no more tissue.
  """
  target = np.asarray(target, np.float64)
  bright = _TISSUE * np.percentile(target, _BRIGHT)
  if bright <= 0 or min(target.shape[1:]) < side:
    return []
  candidates = [
    sorted(_homogeneous(image, index, side, bright, count))
    for index, image in enumerate(target)
  ]
  ranked = sorted(
    (place, variation, roi)
    for found in candidates
    for place, (variation, roi) in enumerate(found)
  )
  return sorted(roi for _, _, roi in ranked[:count])


def _homogeneous(image, index: int, side: int, bright: float, count: int):
  """Up to `count` (coefficient of variation, Roi) of a slice, without overlap."""
  inside = np.s_[side // 2 : image.shape[0] - (side - 1) // 2,
                 side // 2 : image.shape[1] - (side - 1) // 2]  # fmt: skip
  mean = scipy.ndimage.uniform_filter(image, side)[inside]
  square = scipy.ndimage.uniform_filter(image**2, side)[inside]
  darkest = scipy.ndimage.minimum_filter(image, side)[inside]
  variation = np.sqrt(np.maximum(square - mean**2, 0)) / np.maximum(mean, 1e-12)
  variation = np.where(darkest >= bright, variation, np.inf)
  found = []
  while len(found) < count and np.isfinite(variation).any():
    row, column = np.unravel_index(variation.argmin(), variation.shape)
    roi = Roi(index, int(row), int(column), side, side)
    found.append((float(variation[row, column]), roi))
    rows = slice(max(row - side + 1, 0), row + side)
    variation[rows, max(column - side + 1, 0) : column + side] = np.inf
  return found


def read(path: pathlib.Path, shapes: Mapping[str, Sequence[int]]) -> dict:
  """Reads regions from a CSV file.

  Args:
    path: a file with the header volume,slice,row,column,height,width and a line for
      each region; numbers count from 0.
    shapes: volume -> (slices, rows, columns).

  Returns:
    Volume -> list of `Roi`.

  Raises:
    UserError: the file cannot be read, names an unknown volume, or a region does not
      lie within its volume or has fewer than two pixels.
  """
  expected = f"a CSV file with the header {','.join(_FIELDS)}"
  try:
    with open(path, newline="", encoding="utf-8") as file:
      reader = csv.DictReader(file)
      if set(reader.fieldnames or ()) != set(_FIELDS):
        found = f"the header {','.join(reader.fieldnames or ['(none)'])}"
        raise UserError(path, found, expected, "Correct the file.")
      lines = list(reader)
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    found = f"a file that cannot be read ({error})"
    raise UserError(path, found, expected, "Correct the path.") from error
  regions: dict[str, list[Roi]] = {}
  for number, line in enumerate(lines, 2):
    where = f"{path}, line {number}"
    if line["volume"] not in shapes:
      raise UserError(
        where, repr(line["volume"]), f"one of {', '.join(shapes)}", "Correct the name."
      )
    try:
      roi = Roi(*(int(line[field]) for field in _FIELDS[1:]))
    except (TypeError, ValueError) as error:
      raise UserError(where, f"{error}", "whole numbers", "Correct them.") from error
    _check(where, roi, shapes[line["volume"]])
    regions.setdefault(line["volume"], []).append(roi)
  if not regions:
    raise UserError(path, "no region", "at least one line", "Add it.")
  return regions


def _check(where: str, roi: Roi, shape: Sequence[int]) -> None:
  ends = (roi.slice + 1, roi.row + roi.height, roi.column + roi.width)
  inside = all(first >= 0 for first in roi[:3]) and all(
    end <= length for end, length in zip(ends, shape, strict=True)
  )
  if not inside or min(roi.height, roi.width) < 1 or roi.height * roi.width < 2:
    raise UserError(
      where,
      f"{roi}",
      f"two pixels or more within {shape[0]} slices of {shape[1]}x{shape[2]}",
      "Correct the region.",
    )
