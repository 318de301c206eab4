"""Varies the training slices: patches, mirror images, quarter turns."""

import jax
import jax.numpy as jnp

from kdmri_jax.config import AugmentConfig
from kdmri_jax.types import Array

_TURN, _PLACE = 103, 104  # separate the random draws by purpose


def turn(
  images: tuple[Array, ...], draws: Array, config: AugmentConfig
) -> tuple[Array, ...]:
  """Mirrors and turns images at random.

  Args:
    images: arrays [B, H, W, C]; image b gets the same transform in all of them.
    draws: a number for each image, uint32 [B].
    config: enables mirror images and quarter turns; quarter turns need H = W.

  Returns:
    The images, as a tuple.
  """

  def one(draw, *each):
    bits = jax.random.bernoulli(_key(draw, _TURN), shape=(4,))
    for x in each:
      if config.flips:
        x = jnp.where(bits[0], x[::-1], x)
        x = jnp.where(bits[1], x[:, ::-1], x)
      if config.rotations:
        x = jnp.where(bits[2], x[::-1, ::-1], x)
        x = jnp.where(bits[3], jnp.rot90(x), x)
      yield x

  if not (config.flips or config.rotations):
    return images
  return jax.vmap(lambda *arguments: tuple(one(*arguments)))(draws, *images)


def cut(
  images: tuple[Array, ...], draws: Array, patch: tuple[int, int]
) -> tuple[Array, ...]:
  """Cuts a patch from each image at random.

  Args:
    images: arrays [B, H, W, C]; the patch of image b has the same place in all of them.
    draws: a number for each image, uint32 [B].
    patch: rows and columns.

  Returns:
    Arrays [B, rows, columns, C], as a tuple.
  """

  def one(draw, *each):
    last = jnp.array([n - p for n, p in zip(each[0].shape, patch, strict=False)])
    row, column = jax.random.randint(_key(draw, _PLACE), (2,), 0, last + 1)
    return tuple(
      jax.lax.dynamic_slice(x, (row, column, 0), (*patch, x.shape[2])) for x in each
    )

  return jax.vmap(one)(draws, *images)


def _key(draw: Array, purpose: int) -> Array:
  return jax.random.fold_in(jax.random.key(draw), purpose)
