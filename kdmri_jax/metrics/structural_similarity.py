"""Structural similarity."""

import numpy as np
import skimage.metrics
from numpy.typing import ArrayLike

from kdmri_jax.metrics import quality
from kdmri_jax.metrics.metric import Metric

WINDOW = 7


def of_slices(
  target: np.ndarray, prediction: np.ndarray, data_range: np.ndarray
) -> np.ndarray:
  """SSIM of each slice of two volumes [S, H, W], [S]; NaN where the range is 0."""
  return np.array(
    [
      skimage.metrics.structural_similarity(t, p, win_size=WINDOW, data_range=r)
      if r > 0
      else np.nan
      for t, p, r in zip(target, prediction, data_range, strict=True)
    ]
  )


SSIM = Metric(
  of_slices,
  "SSIM",
  higher_is_better=True,
  meaning="structural similarity, of brightness, contrast and structure",
  uses_range=True,
  window=WINDOW,
)


def ssim(target: ArrayLike, prediction: ArrayLike, *, protocol: str = "kdmri") -> float:
  """Structural similarity: 7x7 uniform window, K1 0.01, K2 0.03, sample covariance.

  Args:
    target: fully sampled magnitude of about 0..1, [H, W] or [S, H, W].
    prediction: reconstruction of the same shape.
    protocol: "kdmri" and "fastmri" take the target volume's maximum as range and the
      mean over all slices; "slice" each slice's own maximum, and the mean over slices
      with signal.

  Returns:
    SSIM, higher is better; 1 for a perfect prediction.

  Raises:
    ArgumentError: see `metrics.all`.

  Source: Wang et al., IEEE TIP 2004, eq. 13; ranges of KD-MRI (arXiv 2004.05319) and
    SFT-KD-Recon.
  """
  return quality.value(SSIM, target, prediction, protocol)
