"""Simulates a scan: from an image to measured k-space."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.image_layout import described, to_batch
from kdmri_jax.physics import fourier
from kdmri_jax.physics.coils.operator import adjoint, forward
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.types import Array, CoilMeasurement, Measurement


def undersample(
  image: ArrayLike, mask: ArrayLike, sensitivities: ArrayLike | None = None
) -> tuple[Array, Measurement | CoilMeasurement]:
  """Samples the k-space of fully sampled images by a mask.

  y = M F x. The zero-filled image is |F^-1 y| for real images, the network input
  of the published code, and F^-1 y for complex ones. With several coils y = A x = M F S
  x, and A^H y takes the place of F^-1 y.

  Args:
    image: real or complex [H, W] or [S, H, W], or float [B, H, W, C], C = 1 (real) or
      2 (real and imaginary part).
    mask: [H, W], or [S, H, W] for one mask per image; 1 = sampled, 0 = not, of any
      numeric type or bool; zero frequency at [0, 0].
    sensitivities: of several coils, complex [C, H, W], or [S, C, H, W] for those of
      each image.

  Returns:
    The zero-filled images, as `image` was given: real for real images, complex for
    complex ones. And the measurement: k-space, complex64 [H, W] or [S, H, W], 0 where
    it was not sampled, and the mask; with several coils k-space [C, H, W] or [S, C, H,
    W], the mask and the sensitivities.

  Raises:
    ArgumentError: the images have another shape, the mask or the sensitivities have
      another size, or the mask has other values.
  """
  batch, layout = to_batch(image, "image")
  images, *size, channels = batch.shape
  if channels not in (1, 2):
    raise ArgumentError("image", described(image), "1 or 2 channels")
  allowed = [(), (1,), (images,)] if layout.rank > 2 else [()]
  if np.shape(mask) not in [(*each, *size) for each in allowed]:
    expected = f"{size[0]}x{size[1]}, as the image, or one of that size for each image"
    raise ArgumentError("mask", f"shape {np.shape(mask)}", expected)
  whole = fourier.to_complex(batch)
  if sensitivities is None:
    kspace = jnp.where(is_sampled(mask), fourier.fft2(whole), 0)
    measurement = Measurement(kspace, mask)
  else:
    leading = np.shape(sensitivities)[:-3]
    if np.shape(sensitivities)[-2:] != tuple(size) or leading not in allowed:
      expected = f"[C, {size[0]}, {size[1]}], as the image, or those of each image"
      raise ArgumentError("sensitivities", described(sensitivities), expected)
    kspace = forward(whole, sensitivities, mask)
    measurement = CoilMeasurement(kspace, mask, jnp.asarray(sensitivities))
  zero_filled = zero_fill(measurement, channels)
  return layout.images(zero_filled), measurement._replace(kspace=layout.each(kspace))


def zero_fill(measurement: Measurement | CoilMeasurement, channels: int) -> Array:
  """The zero-filled image of k-space, of several coils A^H y.

  Args:
    measurement: k-space, complex64 [B, H, W], or of several coils [B, C, H, W].
    channels: 1 for the magnitude, 2 for real and imaginary part.

  Returns:
    float32 [B, H, W, C].
  """
  if isinstance(measurement, CoilMeasurement):
    image = adjoint(measurement.kspace, measurement.sensitivities, measurement.mask)
  else:
    image = fourier.ifft2(measurement.kspace)
  if channels == 1:
    image = jnp.abs(image)
  return fourier.from_complex(image, channels)
