"""What two volumes must have in common before they are compared."""

import numpy as np

from kdmri_jax.errors import UserError


def checked_pair(target, prediction, window: int, where):
  """The two volumes as float64 copies.

  Args:
    target: fully sampled magnitude, [S, H, W], not changed.
    prediction: reconstruction, [S, H, W], not changed.
    window: side of the SSIM window, the smallest image that can be measured.
    where: what an error message calls the pair.

  Raises:
    UserError: shapes differ, values are not real and finite, slices are smaller than
      the window, or the target has no signal.
  """
  target, prediction = np.asarray(target), np.asarray(prediction)
  if target.ndim != 3 or target.shape != prediction.shape:
    raise UserError(
      where,
      f"a target of shape {target.shape} and a prediction of shape {prediction.shape}",
      "two volumes of the same shape (slices, rows, columns)",
      "Compare each reconstruction with the volume it was made from, cropped alike.",
    )
  if min(target.shape) == 0 or min(target.shape[1:]) < window:
    raise UserError(
      where,
      f"volumes of shape {target.shape}",
      f"at least one slice of at least {window}x{window} pixels, the SSIM window",
      "Evaluate larger images.",
    )
  return _real(target, where, "target"), _real(prediction, where, "prediction")


def _real(volume, where, name):
  if volume.dtype.kind not in "fiub" or not np.isfinite(volume).all():
    found = "NaN or infinite values" if volume.dtype.kind in "fc" else "no numbers"
    if volume.dtype.kind == "c":
      found = "complex values"
    raise UserError(
      where,
      f"{found} in the {name} ({volume.dtype})",
      "finite real intensities",
      "Take the magnitude of complex images; make a broken reconstruction again.",
    )
  volume = volume.astype(np.float64)
  if name == "target" and volume.max() <= 0:
    raise UserError(
      where,
      "a target without any signal (its maximum is not above 0)",
      "an image",
      "Leave this volume out, or check how it was read.",
    )
  return volume
