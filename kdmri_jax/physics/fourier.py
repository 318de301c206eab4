"""The orthonormal, uncentred 2-D Fourier transform and the two image layouts."""

import jax.numpy as jnp
from jax import lax

from kdmri_jax.types import Array


def fft2(image: Array) -> Array:
  """Image to k-space: orthonormal, zero frequency at [0, 0].

  Args:
    image: complex or real [..., H, W].

  Returns:
    k-space, complex64 [..., H, W].
  """
  return jnp.fft.fft2(image, norm="ortho")


def ifft2(kspace: Array) -> Array:
  """k-space to image; inverse and adjoint of `fft2`.

  Args:
    kspace: complex [..., H, W], zero frequency at [0, 0].

  Returns:
    Image, complex64 [..., H, W].
  """
  return jnp.fft.ifft2(kspace, norm="ortho")


def to_complex(image: Array) -> Array:
  """Joins the channels of an image into one complex number per pixel.

  Args:
    image: float [B, H, W, C]; C = 1 (real) or 2 (real and imaginary part).

  Returns:
    complex64 [B, H, W]; complex128 of float64, which JAX has where it is enabled.

  Raises:
    ValueError: C is neither 1 nor 2.
  """
  _check_channels(image.shape[-1])
  image = jnp.asarray(image)
  image = image.astype(jnp.promote_types(image.dtype, jnp.float32))
  real = image[..., 0]
  imaginary = image[..., 1] if image.shape[-1] == 2 else jnp.zeros_like(real)
  return lax.complex(real, imaginary)


def from_complex(image: Array, channels: int) -> Array:
  """Splits a complex image into channels.

  Args:
    image: complex [B, H, W].
    channels: 1 takes the real part, 2 the real and the imaginary part.

  Returns:
    float32 [B, H, W, C]; float64 of complex128.

  Raises:
    ValueError: `channels` is neither 1 nor 2.
  """
  _check_channels(channels)
  parts = [jnp.real(image), jnp.imag(image)][:channels]
  return jnp.stack(parts, axis=-1)


def _check_channels(channels: int):
  if channels not in (1, 2):
    raise ValueError(f"an image has 1 or 2 channels, not {channels}")
