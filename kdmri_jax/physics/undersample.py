"""Simulates the scanner: an image goes in, measured k-space comes out."""

import chex
import jax.numpy as jnp

from kdmri_jax.physics import fourier
from kdmri_jax.types import Array, Measurement


def undersample(target: Array, mask: Array) -> tuple[Array, Measurement]:
  """Measures the k-space of fully sampled images where the mask says so.

  y = M F x. The zero-filled image is |F^-1 y| for real images, the network input
  of the published code, and F^-1 y for complex ones.

  Args:
    target: fully sampled images, float32 [B, H, W, C], C = 1 or 2.
    mask: [H, W], or [B, H, W] for a mask of its own each; not 0 = sampled.

  Returns:
    The zero-filled images, float32 [B, H, W, C], and the measurement, whose
    k-space is 0 where it was not sampled.

  Raises:
    AssertionError: the mask has another size than the images.
    ValueError: C is neither 1 nor 2.
  """
  chex.assert_rank(target, 4)
  batch, height, width, channels = target.shape
  chex.assert_rank(mask, {2, 3})
  chex.assert_shape(mask, (..., height, width))
  chex.assert_is_broadcastable(mask.shape, (batch, height, width))
  kspace = jnp.where(mask != 0, fourier.fft2(fourier.to_complex(target)), 0)
  measurement = Measurement(kspace, mask)
  return zero_fill(measurement, channels), measurement


def zero_fill(measurement: Measurement, channels: int) -> Array:
  """The image of k-space as it is, zero where nothing was sampled.

  Args:
    measurement: k-space, complex64 [B, H, W].
    channels: 1 for the magnitude, 2 for real and imaginary part.

  Returns:
    float32 [B, H, W, C].
  """
  image = fourier.ifft2(measurement.kspace)
  if channels == 1:
    image = jnp.abs(image)
  return fourier.from_complex(image, channels)
