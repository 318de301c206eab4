"""Structural similarity as a loss."""

import chex
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.types import Array

WINDOW = 7
_K1, _K2 = 0.01, 0.03
_TINY = 1e-12


def ssim(prediction: Array, target: Array) -> Array:
  """1 - SSIM of each image: 0 where they agree, at most 2.

  7x7 uniform window, K1 0.01, K2 0.03, sample covariance, mean over the windows that
  lie within the image; the range is the target's largest value. Of complex images
  (two channels) the magnitudes are compared.

  Args:
    prediction: float [B, H, W, C], C = 1 or 2; H and W at least 7.
    target: float [B, H, W, C].

  Returns:
    [B]; the caller reduces. 0 for an image without signal.

  Raises:
    AssertionError: the shapes differ, or the image is smaller than the window.

  Source: Wang et al., IEEE TIP 2004, with the settings of the metric.
  """
  chex.assert_equal_shape([prediction, target])
  chex.assert_axis_dimension_gteq(target, 1, WINDOW)
  chex.assert_axis_dimension_gteq(target, 2, WINDOW)
  p, t = _image(prediction), _image(target)
  mean_p, mean_t = _mean(p), _mean(t)
  samples = WINDOW**2 / (WINDOW**2 - 1)
  variance_p = samples * (_mean(p * p) - mean_p**2)
  variance_t = samples * (_mean(t * t) - mean_t**2)
  covariance = samples * (_mean(p * t) - mean_p * mean_t)
  largest = t.max(axis=(1, 2, 3), keepdims=True)
  alive = largest > _TINY
  scale = jnp.where(alive, largest, 1)
  c1, c2 = (_K1 * scale) ** 2, (_K2 * scale) ** 2
  luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
  structure = (2 * covariance + c2) / (variance_p + variance_t + c2)
  similarity = (luminance * structure).mean(axis=(1, 2, 3))
  return jnp.where(alive[:, 0, 0, 0], 1 - similarity, 0)


def _image(x: Array) -> Array:
  if x.shape[-1] == 1:
    return x
  square = jnp.square(x).sum(axis=-1, keepdims=True)
  alive = square > _TINY**2
  return jnp.where(alive, jnp.sqrt(jnp.where(alive, square, 1)), 0)


def _mean(x: Array) -> Array:
  return nn.avg_pool(x, (WINDOW, WINDOW))
