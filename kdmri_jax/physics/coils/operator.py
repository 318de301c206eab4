"""The operator of several coils, A = M F S, its adjoint and A^H A."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.image_layout import described
from kdmri_jax.physics import fourier
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.types import Array


def forward(image: ArrayLike, sensitivities: ArrayLike, mask: ArrayLike) -> Array:
  """A x = M F S x: the k-space that each coil measures.

  Args:
    image: complex or real [..., H, W].
    sensitivities: complex [..., C, H, W]; 1 for one coil is plain undersampling.
    mask: [H, W] or [..., H, W]; 1 = sampled, 0 = not.

  Returns:
    complex64 [..., C, H, W]; 0 where not sampled.

  Raises:
    ArgumentError: the shapes do not fit, or the mask has other values.

  Source: Pruessmann et al. 1999, 2001 (SENSE).
  """
  image, sensitivities = jnp.asarray(image), jnp.asarray(sensitivities)
  sampled = _sampled(mask, sensitivities)
  if image.shape[-2:] != sensitivities.shape[-2:] or image.ndim < 2:
    rows, columns = sensitivities.shape[-2:]
    expected = f"[..., {rows}, {columns}], as the sensitivities"
    raise ArgumentError("image", described(image), expected)
  return jnp.where(sampled, fourier.fft2(sensitivities * image[..., None, :, :]), 0)


def adjoint(kspace: ArrayLike, sensitivities: ArrayLike, mask: ArrayLike) -> Array:
  """A^H y = sum over coils of conj(S) F^-1 M y: the zero-filled image.

  Args:
    kspace: complex [..., C, H, W]; what is outside the mask is ignored.
    sensitivities: complex [..., C, H, W].
    mask: [H, W] or [..., H, W]; 1 = sampled, 0 = not.

  Returns:
    complex64 [..., H, W].

  Raises:
    ArgumentError: the shapes do not fit, or the mask has other values.
  """
  kspace, sensitivities = jnp.asarray(kspace), jnp.asarray(sensitivities)
  sampled = _sampled(mask, sensitivities)
  if kspace.shape[-3:] != sensitivities.shape[-3:]:
    expected = f"[..., {', '.join(map(str, sensitivities.shape[-3:]))}], as the "
    raise ArgumentError("kspace", described(kspace), f"{expected}sensitivities")
  images = fourier.ifft2(jnp.where(sampled, kspace, 0))
  return (jnp.conj(sensitivities) * images).sum(-3)


def normal(
  sensitivities: ArrayLike, mask: ArrayLike, axis: int | None = None
) -> Callable[[Array], Array]:
  """A^H A, with a Fourier transform along the phase-encode axis alone where it can.

  Along the readout axis of a Cartesian mask the transforms of A^H and A cancel.

  Args:
    sensitivities: complex [..., C, H, W].
    mask: [H, W] or [..., H, W]; 1 = sampled, 0 = not.
    axis: the phase-encode axis of a Cartesian mask, 0 or 1; None for any mask.

  Returns:
    A function of images, complex [..., H, W].

  Raises:
    ArgumentError: the shapes do not fit, or the mask has other values.
  """
  sensitivities = jnp.asarray(sensitivities)
  sampled, conjugate = _sampled(mask, sensitivities), jnp.conj(sensitivities)
  line = sampled[..., :1] if axis == 0 else sampled[..., :1, :]
  line = line.astype(jnp.float32)

  def apply(image):
    images = sensitivities * image[..., None, :, :]
    if axis is None:
      images = fourier.ifft2(jnp.where(sampled, fourier.fft2(images), 0))
    else:
      kspace = jnp.fft.fft(images, axis=axis - 2)
      images = jnp.fft.ifft(line * kspace, axis=axis - 2)
    return (conjugate * images).sum(-3)

  return apply


def _sampled(mask, sensitivities):
  """Where k-space of all coils is sampled, bool [..., 1, H, W]."""
  if sensitivities.ndim < 3:
    found = described(sensitivities)
    raise ArgumentError("sensitivities", found, "complex [..., C, H, W]")
  if np.ndim(mask) < 2 or np.shape(mask)[-2:] != sensitivities.shape[-2:]:
    rows, columns = sensitivities.shape[-2:]
    expected = f"[..., {rows}, {columns}], as the sensitivities"
    raise ArgumentError("mask", f"shape {np.shape(mask)}", expected)
  return is_sampled(mask)[..., None, :, :]
