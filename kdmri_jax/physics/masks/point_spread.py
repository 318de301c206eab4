"""The point-spread function of a mask, and its highest side lobe."""

from typing import NamedTuple

import numpy as np
import scipy

_ROUNDING = 1e-12


class SideLobe(NamedTuple):
  """A local maximum of a point-spread function beside its peak.

  Attributes:
    height: relative to the peak, above 0; 1 is a ghost as bright as the object.
    distance: from the peak in pixels, the shortest in the periodic image.
  """

  height: float
  distance: float

  @property
  def decibels(self) -> float:
    """The height in dB, at most 0."""
    return float(20 * np.log10(self.height))


def point_spread(mask: np.ndarray) -> np.ndarray:
  """The magnitude of the zero-filled image of a point, relative to its peak.

  p[x] = |sum over sampled k of exp(2 pi i (k_0 x_0 / H + k_1 x_1 / W))| / number of
  samples: the inverse DFT of the mask, so that a zero-filled complex image is the true
  image convolved with it. Its maximum is 1 at the peak, x = (0, 0). For a Cartesian
  mask it is 0 except along the phase-encode axis through the peak.

  Args:
    mask: uncentred, [H, W], with at least one sample.

  Returns:
    float64 [H, W], 0 to 1, the peak at [0, 0], periodic.
  """
  mask = np.asarray(mask) != 0
  return np.abs(np.fft.ifft2(mask)) * (mask.size / mask.sum())


def side_lobe(spread: np.ndarray) -> SideLobe | None:
  """The highest side lobe of a point-spread function.

  A side lobe is a local maximum other than the peak: a pixel that none of its eight
  neighbours exceeds, including neighbours across the border. The slopes of the main
  lobe therefore do not count. They determine the blurring of an image; a side lobe
  determines the strength of ghosts, unless it is so near that it only widens the main
  lobe. The side-lobe-to-peak ratio of compressed sensing (Lustig, Donoho and Pauly
  2007) counts every pixel except the peak, including the slopes.

  Args:
    spread: from `point_spread`, [H, W].

  Returns:
    The highest one, or the nearest of equal ones; None where there is no local maximum
    above the rounding error, as for full sampling.
  """
  tops = spread >= scipy.ndimage.maximum_filter(spread, 3, mode="wrap")
  tops[0, 0] = False
  height = float(spread[tops].max(initial=0))
  if height <= _ROUNDING:
    return None
  places = np.argwhere(tops & (spread >= height * (1 - _ROUNDING)))
  offsets = np.minimum(places, np.array(spread.shape) - places)
  return SideLobe(height, float(np.hypot(*offsets.T).min()))
