"""Structural similarity as a loss."""

from flax import linen as nn

from kdmri_jax.errors import ArgumentError
from kdmri_jax.losses._images import of_images
from kdmri_jax.ops.norm import norm
from kdmri_jax.types import Array

WINDOW = 7
_C1, _C2 = 0.01**2, 0.03**2


@of_images
def ssim(prediction: Array, target: Array) -> Array:
  """1 - SSIM of each image: 0 where they agree, at most 2.

  7x7 uniform window, K1 0.01, K2 0.03, sample covariance, mean over the windows that
  lie within the image. The range is 1, the range of volumes divided by their maximum;
  the range of a patch of air would be tiny. Complex images (two channels) are compared
  by magnitude.

  SSIM is defined for images that are not negative. By its formula a negative copy of
  the target would be as similar as the target itself, because two negative factors give
  a positive one. Here the luminance factor is at least 0, so the copy is not similar at
  all.

  Args:
    prediction: [H, W] or [S, H, W], real or complex, or real [B, H, W, C], C = 1 or 2;
      H and W at least 7.
    target: likewise, of the same shape.

  Returns:
    A value for each image, [], [S] or [B]; the caller reduces.

  Raises:
    ArgumentError: the shapes differ, or the image is smaller than the window.

  Source: Wang et al., IEEE TIP 2004, with the settings of the metric.
  """
  rows, columns = target.shape[1:3]
  if min(rows, columns) < WINDOW:
    expected = f"at least {WINDOW}x{WINDOW}"
    raise ArgumentError("target", f"images of {rows}x{columns}", expected)
  p, t = prediction, target
  if p.shape[-1] > 1:
    p, t = norm(p), norm(t)
  mean_p, mean_t = _mean(p), _mean(t)
  samples = WINDOW**2 / (WINDOW**2 - 1)
  variance_p = samples * (_mean(p * p) - mean_p**2)
  variance_t = samples * (_mean(t * t) - mean_t**2)
  covariance = samples * (_mean(p * t) - mean_p * mean_t)
  luminance = nn.relu(2 * mean_p * mean_t + _C1) / (mean_p**2 + mean_t**2 + _C1)
  structure = (2 * covariance + _C2) / (variance_p + variance_t + _C2)
  return 1 - (luminance * structure).mean(axis=(1, 2, 3))


def _mean(x: Array) -> Array:
  return nn.avg_pool(x, (WINDOW, WINDOW))
