"""Errors of high frequencies: HFN of Laplacians, HFEN of Laplacians of Gaussian."""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from kdmri_jax.metrics import quality
from kdmri_jax.metrics.metric import Metric, energy, ratio

Energies = tuple[np.ndarray, np.ndarray]  # of the error and of the target, [S] each


def laplacian_energies(target: np.ndarray, prediction: np.ndarray) -> Energies:
  """Energies of the 5-point Laplacians, mirrored borders; the prediction is clipped."""
  clipped = np.clip(prediction, 0, max(1, target.max()))
  return energy(_laplacian(clipped - target)), energy(_laplacian(target))


def log_energies(target: np.ndarray, prediction: np.ndarray) -> Energies:
  """Energies of the Laplacians of Gaussian."""
  found = energy(_laplacian_of_gaussian(target))
  # The FFT leaves rounding errors where the result is zero: for a constant slice.
  found = np.where(found > 1e-24 * energy(target), found, 0.0)
  return energy(_laplacian_of_gaussian(prediction - target)), found


def _laplacian(volume):
  return np.stack([scipy.ndimage.laplace(image) for image in volume])


def _laplacian_of_gaussian(volume, size=15, sigma=1.5):
  """Kernel with zero sum, as MATLAB's fspecial("log"); mirrored borders.

  It consists of two separable kernels, a Gaussian along one axis times its second
  derivative along the other, less their mean.
  """
  x = np.arange(size) - size // 2
  gauss = np.exp(-(x**2) / (2 * sigma**2))
  gauss /= gauss.sum()
  second = gauss * (x**2 - sigma**2) / sigma**4
  kernels = (second, gauss), (gauss, second)
  filtered = sum(_separable(volume, *pair) for pair in kernels)
  mean = scipy.ndimage.uniform_filter(volume, (1, size, size))
  return filtered - 2 * second.sum() * mean


def _separable(volume, rows, columns):
  volume = scipy.ndimage.correlate1d(volume, rows, axis=1)
  return scipy.ndimage.correlate1d(volume, columns, axis=2)


HFN = Metric(
  laplacian_energies,
  "HFN",
  higher_is_better=False,
  definition="the squared error of 5-point Laplacians over the target's squared "
  "Laplacian, the mean over slices, the prediction clipped to [0, 1] (for targets with "
  "a larger maximum, to [0, that maximum])",
  meaning="high-frequency error, of the finest detail",
  per_slice=lambda energies, _: ratio(*energies),
  shown="listed",
)

HFEN = Metric(
  log_energies,
  "HFEN",
  higher_is_better=False,
  definition="the norm of the error's Laplacian of Gaussian (15x15, sigma 1.5) over "
  "that of the target",
  meaning="high-frequency error norm, of edges and fine structure",
  per_slice=lambda energies, _: np.sqrt(ratio(*energies)),
  per_volume=lambda energies, _: np.sqrt(ratio(*(e.sum() for e in energies))),
  shown="listed",
)


def hfn(target: ArrayLike, prediction: ArrayLike, *, protocol: str = "kdmri") -> float:
  """High-frequency error, sum lap(p' - t)^2 / sum lap(t)^2, mean over slices.

  lap is the 5-point Laplacian with mirrored borders. p' is p clipped to [0, m], m the
  larger of 1 and the target volume's maximum.

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "slice" leaves slices without signal out; see `kdmri_jax.protocols`.

  Returns:
    HFN, lower is better; NaN where no slice of the target has an edge.

  Raises:
    ArgumentError: see `metrics.all`.

  Source: KD-MRI (arXiv 2004.05319), published code.
  """
  return quality.value(HFN, target, prediction, protocol)


def hfen(target: ArrayLike, prediction: ArrayLike, *, protocol: str = "kdmri") -> float:
  """High-frequency error norm, norm of LoG(p - t) / norm of LoG(t).

  LoG is the Laplacian of Gaussian, 15x15 pixels, sigma 1.5, with mirrored borders.

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "kdmri" and "fastmri" take the norms over the volume; "slice" over each
      slice with signal, and the mean.

  Returns:
    HFEN, lower is better; NaN where the target has no edges.

  Raises:
    ArgumentError: see `metrics.all`.

  Source: Ravishankar and Bresler, IEEE TMI 30 (2011).
  """
  return quality.value(HFEN, target, prediction, protocol)
