"""Varies the training slices: symmetries, patches, shape, intensity, mixtures.

Every draw depends on the number of its slice alone, which depends on seed and step.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from kdmri_jax.config import AugmentConfig
from kdmri_jax.errors import ArgumentError
from kdmri_jax.types import Array, Slices

# Separate the random draws by purpose.
_TURN, _PLACE, _SHAPE, _INTENSITY, _SHARE = 103, 104, 105, 106, 107


def check(config: AugmentConfig, slices: Slices) -> None:
  """Refuses an augmentation that the slices do not allow.

  Args:
    config: the augmentation.
    slices: those of a part.

  Raises:
    ArgumentError: names the setting.
  """
  size, patch = slices.target.shape[1:3], config.patch
  if config.varies and slices.kspace is not None:
    found = "augmentation of data with their own k-space"
    expected = "no augmentation, or images, from which k-space is simulated"
    raise ArgumentError("augment", found, expected)
  if any(patch) and not all(8 <= p <= n for p, n in zip(patch, size, strict=True)):
    found = f"{patch}, of slices of {size}"
    expected = f"8 to {size[0]} rows and 8 to {size[1]} columns, or (0, 0) for none"
    raise ArgumentError("augment.patch", found, expected)
  turned = patch if any(patch) else size
  if config.rotations and turned[0] != turned[1]:
    found = f"quarter turns of {turned[0]}x{turned[1]} pixels"
    expected = "squares, by augment.patch or data.crop"
    raise ArgumentError("augment.rotations", found, expected)


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


def change(
  images: tuple[Array, ...],
  draws: Array,
  config: AugmentConfig,
  following: Callable[[Array], Array],
) -> tuple[Array, ...]:
  """Turns images, changes shape and intensity, and mixes them, as `config` says.

  The largest magnitude does not grow, and magnitudes do not become negative. Images of
  which patches will be cut are not turned: their patches are.

  Args:
    images: arrays [B, H, W, C], such as targets and their given inputs; image b gets
      the same change in all of them.
    draws: a number for each image, uint32 [B].
    config: the changes.
    following: images [B, ...] -> for each the next one in the batch.

  Returns:
    The images, as a tuple.
  """
  if not any(config.patch):
    images = turn(images, draws, config)
  if config.degrees or config.scale or config.shear:
    linear = deformations(draws, config)
    images = tuple(deform(each, linear) for each in images)
  if config.gain or config.gamma:
    images = shade(images, *intensities(draws, config))
  if config.mixup:
    own = shares(draws, config.mixup)
    images = tuple(mix(each, following(each), own) for each in images)
  return images


def next_image(images: Array) -> Array:
  """For each image of a batch [B, ...] the next one; for the last the first."""
  return jnp.roll(images, -1, axis=0)


def deformations(draws: Array, config: AugmentConfig) -> Array:
  """Draws linear maps; the identity for half of the images.

  Args:
    draws: a number for each image, uint32 [B].
    config: the limits: an angle in degrees, `scale` s of factors from 1 / (1 + s) to
      1 + s, uniform in their logarithm, and `shear`, in columns per row.

  Returns:
    float32 [B, 2, 2]: from an offset from the centre (rows, columns) in the changed
    image to that in the image.
  """

  def one(draw):
    key = _key(draw, _SHAPE)
    angle, size, slant = jax.random.uniform(key, (3,), minval=-1, maxval=1)
    angle, slant = angle * jnp.deg2rad(config.degrees), slant * config.shear
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    first = jnp.stack([cosine, -sine])
    second = jnp.stack([sine, cosine]) + slant * first
    linear = jnp.stack([first, second]) * (1 + config.scale) ** -size
    changed = jax.random.bernoulli(jax.random.fold_in(key, 0))
    return jnp.where(changed, linear, jnp.eye(2))

  return jax.vmap(one)(draws)


def deform(images: Array, linear: Array) -> Array:
  """Maps images linearly about their centre, by linear interpolation, 0 outside.

  Args:
    images: [B, H, W, C].
    linear: from `deformations`.
  """
  height, width = images.shape[1:3]
  middle = (height - 1) / 2, (width - 1) / 2
  rows = jnp.arange(height)[:, None] - middle[0]
  columns = jnp.arange(width) - middle[1]

  def one(image, linear):
    places = [
      linear[k, 0] * rows + linear[k, 1] * columns + middle[k] for k in range(2)
    ]
    channels = jnp.moveaxis(image, -1, 0)
    moved = jax.vmap(lambda x: map_coordinates(x, places, order=1))(channels)
    return jnp.moveaxis(moved, 0, -1)

  return jax.vmap(one)(images, linear)


def intensities(draws: Array, config: AugmentConfig) -> tuple[Array, Array]:
  """Draws a factor and an exponent of the intensities of each image.

  Args:
    draws: a number for each image, uint32 [B].
    config: `gain` g of factors from 1 - g to 1, and `gamma` c of exponents from
      1 / (1 + c) to 1 + c, uniform in their logarithm.

  Returns:
    Factors and exponents, float32 [B].
  """

  def one(draw):
    darker, power = jax.random.uniform(_key(draw, _INTENSITY), (2,))
    return 1 - config.gain * darker, (1 + config.gamma) ** (2 * power - 1)

  return jax.vmap(one)(draws)


def shade(
  images: tuple[Array, ...], factors: Array, exponents: Array
) -> tuple[Array, ...]:
  """Changes magnitudes m of images to f M (m / M)^e; keeps the phase.

  Args:
    images: arrays [B, H, W, C]; C = 1, or 2 for real and imaginary part. M is the
      largest magnitude of image b in all of them.
    factors: f, [B].
    exponents: e, [B].

  Returns:
    The images, as a tuple.
  """
  magnitudes = [jnp.linalg.norm(each, axis=-1, keepdims=True) for each in images]
  most = [each.max(axis=(1, 2, 3), keepdims=True) for each in magnitudes]
  largest = functools.reduce(jnp.maximum, most)
  powers = (exponents - 1)[:, None, None, None]

  def one(image, magnitude):
    relative = magnitude / largest
    change = jnp.exp(powers * jnp.log(jnp.where(magnitude > 0, relative, 1)))
    return image * factors[:, None, None, None] * change

  return tuple(map(one, images, magnitudes))


def shares(draws: Array, mixup: float) -> Array:
  """Draws the share of each image in its mixture, float32 [B]: Beta(mixup, mixup)."""

  def one(draw):
    return jax.random.beta(_key(draw, _SHARE), mixup, mixup)

  return jax.vmap(one)(draws)


def mix(images: Array, others: Array, shares: Array) -> Array:
  """Mixes images with others of the batch.

  Sampling is linear: the k-space of a mixture is the mixture of the k-spaces.

  Args:
    images: [B, H, W, C].
    others: likewise.
    shares: of `images`, [B].

  Source: mixup, Zhang et al. 2018 (arXiv 1710.09412).
  """
  own = shares[:, None, None, None]
  return own * images + (1 - own) * others


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
