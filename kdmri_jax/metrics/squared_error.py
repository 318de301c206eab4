"""Mean squared error, normalised mean squared error, and PSNR."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kdmri_jax.metrics import quality
from kdmri_jax.metrics.metric import Metric, energy, ratio


class SquaredError(NamedTuple):
  """Sums over the pixels of each slice.

  Attributes:
    error: of (p - t)^2, [S].
    energy: of t^2, [S].
    pixels: number of pixels of a slice.
  """

  error: np.ndarray
  energy: np.ndarray
  pixels: int

  @property
  def mse(self) -> np.ndarray:
    """The mean squared error of each slice, [S]."""
    return self.error / self.pixels

  @property
  def volume_mse(self) -> float:
    """The mean squared error of the volume."""
    return self.error.mean() / self.pixels


def squared_error(target: np.ndarray, prediction: np.ndarray) -> SquaredError:
  """The sums behind MSE, NMSE and PSNR; volumes are [S, H, W]."""
  return SquaredError(energy(prediction - target), energy(target), target[0].size)


def decibels(mse: ArrayLike, data_range: ArrayLike = 1.0) -> np.ndarray:
  """PSNR of a mean squared error, 10 log10(range^2 / MSE); infinite for 0."""
  with np.errstate(divide="ignore"):
    return 10 * np.log10(np.square(data_range) / np.asarray(mse))


PSNR = Metric(
  squared_error,
  "PSNR",
  higher_is_better=True,
  unit="dB",
  decimals=2,
  meaning="peak signal-to-noise ratio, the brightest signal against the error",
  per_slice=lambda sums, peak: decibels(sums.mse, np.where(peak > 0, peak, 1)),
  per_volume=lambda sums, peak: decibels(sums.volume_mse, peak),
)

MSE = Metric(
  squared_error,
  "MSE",
  higher_is_better=False,
  decimals=6,
  per_slice=lambda sums, _: sums.mse,
  per_volume=lambda sums, _: sums.volume_mse,
  shown="stored",
)

NMSE = Metric(
  squared_error,
  "NMSE",
  higher_is_better=False,
  decimals=5,
  definition="the squared error over the squared target",
  meaning="normalised mean squared error",
  per_slice=lambda sums, _: ratio(sums.error, sums.energy),
  per_volume=lambda sums, _: sums.error.sum() / sums.energy.sum(),
)


def psnr(target: ArrayLike, prediction: ArrayLike, *, protocol: str = "kdmri") -> float:
  """Peak signal-to-noise ratio in dB, 10 log10(range^2 / MSE).

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "kdmri" and "fastmri" measure the whole volume with the target volume's
      maximum as range; "slice" measures each slice with its own maximum, and takes the
      mean.

  Returns:
    PSNR, higher is better; infinite for a perfect prediction.

  Raises:
    ArgumentError: see `metrics.all`.

  Source: KD-MRI (arXiv 2004.05319); "slice": SFT-KD-Recon.
  """
  return quality.value(PSNR, target, prediction, protocol)


def mse(target: ArrayLike, prediction: ArrayLike, *, protocol: str = "kdmri") -> float:
  """Mean squared error, the mean of (p - t)^2 over pixels and slices.

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "slice" omits slices without signal; see `kdmri_jax.protocols`.

  Returns:
    MSE, lower is better.

  Raises:
    ArgumentError: see `metrics.all`.
  """
  return quality.value(MSE, target, prediction, protocol)


def nmse(target: ArrayLike, prediction: ArrayLike, *, protocol: str = "kdmri") -> float:
  """Normalised mean squared error, sum (p - t)^2 / sum t^2.

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "kdmri" and "fastmri" sum over the volume; "slice" over each slice with
      signal, and takes the mean.

  Returns:
    NMSE, lower is better; 0 for a perfect prediction, 1 for an empty one.

  Raises:
    ArgumentError: see `metrics.all`.
  """
  return quality.value(NMSE, target, prediction, protocol)
