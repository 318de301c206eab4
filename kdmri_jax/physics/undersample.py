"""Simulates a scan: from an image to measured k-space."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.image_layout import described, to_batch
from kdmri_jax.physics import fourier
from kdmri_jax.types import Array, Measurement


def undersample(image: ArrayLike, mask: ArrayLike) -> tuple[Array, Measurement]:
  """Samples the k-space of fully sampled images by a mask.

  y = M F x. The zero-filled image is |F^-1 y| for real images, the network input
  of the published code, and F^-1 y for complex ones.

  Args:
    image: real or complex [H, W] or [S, H, W], or float [B, H, W, C], C = 1 (real) or
      2 (real and imaginary part).
    mask: [H, W], or [S, H, W] for one mask per image; not 0 = sampled; zero frequency
      at [0, 0].

  Returns:
    The zero-filled images, as `image` was given: real for real images, complex for
    complex ones. And the measurement: k-space, complex64 [H, W] or [S, H, W], 0 where
    it was not sampled, and the mask.

  Raises:
    ArgumentError: the images have another shape, or the mask has another size.
  """
  batch, layout = to_batch(image, "image")
  images, *size, channels = batch.shape
  if channels not in (1, 2):
    raise ArgumentError("image", described(image), "1 or 2 channels")
  allowed = [(), (1,), (images,)] if layout.rank > 2 else [()]
  if np.shape(mask) not in [(*each, *size) for each in allowed]:
    expected = f"{size[0]}x{size[1]}, as the image, or one of that size for each image"
    raise ArgumentError("mask", f"shape {np.shape(mask)}", expected)
  kspace = jnp.where(jnp.asarray(mask) != 0, fourier.fft2(fourier.to_complex(batch)), 0)
  zero_filled = zero_fill(Measurement(kspace, mask), channels)
  return layout.images(zero_filled), Measurement(layout.each(kspace), mask)


def zero_fill(measurement: Measurement, channels: int) -> Array:
  """The zero-filled image of k-space.

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
