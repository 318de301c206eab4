"""Pixel-wise distances between two images."""

import chex
import jax.numpy as jnp

from kdmri_jax.types import Array


def l1(prediction: Array, target: Array) -> Array:
  """Mean absolute difference of each image.

  Args:
    prediction: float [B, H, W, C].
    target: float [B, H, W, C].

  Returns:
    [B]; the caller reduces.

  Source: KD-MRI eq. 4, L_rec.
  """
  chex.assert_equal_shape([prediction, target])
  return jnp.abs(prediction - target).mean(axis=(1, 2, 3))


def mse(prediction: Array, target: Array) -> Array:
  """Mean squared difference of each image; arguments and result as `l1`."""
  chex.assert_equal_shape([prediction, target])
  return jnp.square(prediction - target).mean(axis=(1, 2, 3))
