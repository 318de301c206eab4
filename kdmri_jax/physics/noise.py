"""Noise of the receiver: complex Gaussian in k-space, Rician in magnitude images."""

import jax
import jax.numpy as jnp

from kdmri_jax.types import Array, Measurement

_FOREGROUND = 0.1


def signal(target: Array) -> Array:
  """The level that a signal-to-noise ratio refers to, in the units of the image.

  The mean magnitude of the pixels above a tenth of the image's largest one: air, which
  fills a different part of each image, is left out.

  Args:
    target: images without noise, float [B, H, W, C].

  Returns:
    [B]; 0 for an image without signal.
  """
  magnitude = jnp.linalg.norm(target, axis=-1)
  largest = magnitude.max(axis=(1, 2), keepdims=True)
  foreground = (magnitude >= _FOREGROUND * largest) & (magnitude > 0)
  total = jnp.where(foreground, magnitude, 0).sum(axis=(1, 2))
  return total / jnp.maximum(foreground.sum(axis=(1, 2)), 1)


def draw_snr(draws: Array, lowest: float, highest: float) -> Array:
  """A signal-to-noise ratio for each image, uniform between two.

  Args:
    draws: a number for each image, uint32 [B].
    lowest, highest: bounds; inf for no noise.

  Returns:
    float32 [B]; that of an image depends on its own number only.
  """
  if lowest == highest:
    return jnp.full(draws.shape, lowest, jnp.float32)

  def one(draw):
    key = jax.random.fold_in(jax.random.key(draw), 1)
    return jax.random.uniform(key, minval=lowest, maxval=highest)

  return jax.vmap(one)(draws)


def add(
  measurement: Measurement, target: Array, snr: Array, draws: Array, averages: int = 1
) -> Measurement:
  """Adds noise where k-space was sampled.

  Its real and its imaginary part have the standard deviation signal / snr at each
  sample, and so at each pixel of a fully sampled image; averaging N acquisitions
  divides it by sqrt(N).

  Args:
    measurement: k-space without noise, complex64 [B, H, W], and its mask.
    target: the images it comes from, float [B, H, W, C].
    snr: of one acquisition, [B]; inf for no noise.
    draws: a number for each image, uint32 [B]; the same number draws the same noise.
    averages: acquisitions averaged.

  Returns:
    The measurement; k-space is still 0 where it was not sampled.

  Source: Gudbjartsson & Patz 1995 for the magnitude's distribution.
  """
  shape = measurement.kspace.shape[1:]

  def one(draw):
    real, imaginary = jax.random.normal(jax.random.key(draw), (2, *shape), jnp.float32)
    return jax.lax.complex(real, imaginary)

  deviation = signal(target) / snr / jnp.sqrt(averages)
  noise = deviation[:, None, None] * jax.vmap(one)(draws)
  noise = jnp.where(measurement.mask != 0, noise, 0)
  return measurement._replace(kspace=measurement.kspace + noise)
