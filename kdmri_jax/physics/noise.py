"""Noise of the receiver: complex Gaussian in k-space, Rician in magnitude images."""

import jax
import jax.numpy as jnp

from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.types import Array, CoilMeasurement, Measurement

_FOREGROUND = 0.1
_FIELD, _RATIO = 101, 102  # separate the random draws by purpose


def signal(target: Array) -> Array:
  """The level that a signal-to-noise ratio refers to, in the units of the image.

  The mean magnitude of the pixels above a tenth of the image's maximum. This excludes
  air, whose share differs between images.

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


def draw_snr(draws: Array, lowest: Array, highest: Array) -> Array:
  """A signal-to-noise ratio for each image, uniform between two.

  Args:
    draws: a number for each image, uint32 [B].
    lowest, highest: bounds, scalars or [B]; both finite, or both inf for no noise.

  Returns:
    float32 [B]; the ratio of an image depends only on its own number.
  """

  def one(draw):
    return jax.random.uniform(jax.random.fold_in(jax.random.key(draw), _RATIO))

  span = jnp.where(highest > lowest, highest - lowest, 0)
  return lowest + jax.vmap(one)(draws) * span


def add(
  measurement: Measurement | CoilMeasurement, target: Array, snr: Array, draws: Array
) -> Measurement | CoilMeasurement:
  """Adds noise where k-space was sampled.

  Its real and its imaginary part have the standard deviation signal / snr at each
  sample, and so at each pixel of a fully sampled image. The noise of several coils is
  independent; where the root sum of squares of their sensitivities is 1, that of A^H y
  is the same.

  Args:
    measurement: k-space without noise, complex64 [B, H, W] or [B, C, H, W], and its
      mask.
    target: the images it comes from, float [B, H, W, C].
    snr: signal-to-noise ratio, [B]; inf for no noise.
    draws: a number for each image, uint32 [B]; the same number draws the same noise.

  Returns:
    The measurement; k-space is still 0 where it was not sampled.

  Source: Gudbjartsson & Patz 1995 for the magnitude's distribution.
  """
  shape = measurement.kspace.shape[1:]

  def one(draw):
    key = jax.random.fold_in(jax.random.key(draw), _FIELD)
    real, imaginary = jax.random.normal(key, (2, *shape), jnp.float32)
    return jax.lax.complex(real, imaginary)

  deviation = signal(target) / snr
  each = (slice(None), *[None] * len(shape))
  sampled = is_sampled(measurement.mask)
  sampled = sampled if len(shape) == 2 else sampled[..., None, :, :]
  noise = jnp.where(sampled, deviation[each] * jax.vmap(one)(draws), 0)
  return measurement._replace(kspace=measurement.kspace + noise)
