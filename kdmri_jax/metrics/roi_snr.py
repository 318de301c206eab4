"""Signal-to-noise ratio in regions of homogeneous tissue."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from kdmri_jax.errors import ArgumentError

_TISSUE = 0.3  # of the volume's bright level; air and dark parts are below
_BRIGHT = 99  # percentile


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


def check(roi: Roi, shape: Sequence[int]) -> None:
  """Checks that a region lies within a volume and has two pixels or more.

  Args:
    roi: the region.
    shape: slices, rows and columns of the volume.

  Raises:
    ArgumentError: it does not.
  """
  ends = (roi.slice + 1, roi.row + roi.height, roi.column + roi.width)
  inside = all(first >= 0 for first in roi[:3]) and all(
    end <= length for end, length in zip(ends, shape, strict=True)
  )
  if not inside or min(roi.height, roi.width) < 1 or roi.height * roi.width < 2:
    raise ArgumentError(
      "roi",
      f"{roi}",
      f"two pixels or more within {shape[0]} slices of {shape[1]}x{shape[2]}",
    )


def snr(volume: ArrayLike, roi: Roi) -> float:
  """Signal-to-noise ratio of a region: mean over standard deviation (n - 1).

  Args:
    volume: magnitude, [S, H, W].
    roi: the region.

  Returns:
    The ratio; infinite where all pixels are equal.

  Raises:
    ArgumentError: the array is not a volume, or the region is not within it.

  Source: Shou et al. (ISMRM), SNR of a region.
  """
  volume = _volume("volume", volume)
  check(roi, volume.shape)
  pixels = roi.cut(volume)
  deviation = pixels.std(ddof=1)
  return float(pixels.mean() / deviation) if deviation > 0 else math.inf


def find(target: ArrayLike, count: int = 4, side: int = 9) -> list[Roi]:
  """Finds the most homogeneous squares of tissue in a volume.

  A square is homogeneous if its standard deviation is small relative to its mean. It
  lies completely in tissue. Squares do not overlap, and each slice gives one square
  before any slice gives two.

  Args:
    target: fully sampled magnitude, [S, H, W].
    count: largest number of squares.
    side: rows and columns of a square.

  Returns:
    Squares by slice and position; fewer than `count` where there is not enough tissue.

  Raises:
    ArgumentError: the target is not a volume of real numbers.
  """
  target = _volume("target", target)
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
  found: list[tuple[float, Roi]] = []
  while len(found) < count and np.isfinite(variation).any():
    row, column = np.unravel_index(variation.argmin(), variation.shape)
    roi = Roi(index, int(row), int(column), side, side)
    found.append((float(variation[row, column]), roi))
    rows = slice(max(row - side + 1, 0), row + side)
    variation[rows, max(column - side + 1, 0) : column + side] = np.inf
  return found


def _volume(name: str, volume: ArrayLike) -> np.ndarray:
  volume = np.asarray(volume)
  if volume.ndim != 3 or volume.dtype.kind not in "fiub":
    found = f"an array {volume.dtype} of shape {volume.shape}"
    raise ArgumentError(name, found, "real intensities (slices, rows, columns)")
  return volume.astype(np.float64)
