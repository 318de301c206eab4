"""Pixel-wise distances between two images."""

import jax.numpy as jnp

from kdmri_jax.losses._images import of_images
from kdmri_jax.types import Array


@of_images
def l1(prediction: Array, target: Array) -> Array:
  """Mean absolute difference of each image.

  Args:
    prediction: [H, W] or [S, H, W], real or complex, or real [B, H, W, C]. Real and
      imaginary part of complex numbers are compared as two channels.
    target: likewise, of the same shape.

  Returns:
    A value for each image, [], [S] or [B]; the caller reduces.

  Raises:
    ArgumentError: the shapes differ, or are none of these.

  Source: KD-MRI eq. 4, L_rec.
  """
  return jnp.abs(prediction - target).mean(axis=(1, 2, 3))


@of_images
def mse(prediction: Array, target: Array) -> Array:
  """Mean squared difference of each image; arguments, result and errors as `l1`."""
  return jnp.square(prediction - target).mean(axis=(1, 2, 3))
