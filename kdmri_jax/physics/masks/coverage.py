"""Finds the sampled points of measured k-space, and compares them with a mask."""

import numpy as np

from kdmri_jax.errors import UserError


def peak_of(kspace: np.ndarray) -> np.ndarray:
  """The largest magnitude of each point over all slices, which are read one by one.

  Args:
    kspace: complex64 [S, H, W], or of several coils [S, C, H, W].

  Returns:
    float32 [H, W].
  """
  peak = np.zeros(kspace.shape[-2:], np.float32)
  for k in range(len(kspace)):
    row = kspace[np.array([k])].reshape(-1, *peak.shape)
    peak = np.maximum(peak, np.abs(row).max(0))
  return peak


def check_mask(peak: np.ndarray, mask: np.ndarray, where: object) -> None:
  """Checks that measured k-space is non-zero exactly where the mask [H, W] samples.

  Args:
    peak: from `peak_of`.
    mask: 1 where sampled.
    where: the file.

  Raises:
    UserError: it is not.
  """
  outside = int((peak > 1e-6 * peak.max())[mask == 0].sum())
  empty = int((peak == 0)[mask == 1].sum())
  if outside or empty > 0.01 * mask.sum():
    found = f"k-space that has samples at {outside} points where the mask has none"
    if not outside:
      found = f"k-space that is empty at {empty} points which the mask samples"
    raise UserError(
      where,
      found,
      "k-space sampled by the mask of this experiment, zero frequency at [0, 0]",
      "Use the data's own mask, not a transposed one, and store k-space uncentred.",
    )
