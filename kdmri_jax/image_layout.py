"""Images of every rank as batches float32 [B, H, W, C], and results in that rank."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.types import Array


class Layout(NamedTuple):
  """How images were given.

  Attributes:
    rank: 2 for [H, W], 3 for [S, H, W], 4 for [B, H, W, C].
    is_complex: whether they were complex numbers.
  """

  rank: int
  is_complex: bool

  def each(self, values: Array) -> Array:
    """Values [B, ...] of each image, without the first axis where one was given."""
    return values[0] if self.rank == 2 else values

  def images(self, batch: Array) -> Array:
    """A batch [B, H, W, C] as the images were given."""
    if self.rank == 4:
      return batch
    real = batch[..., 0]
    return self.each(lax.complex(real, batch[..., 1]) if self.is_complex else real)


def to_batch(images: ArrayLike, argument: str) -> tuple[Array, Layout]:
  """Images as a batch.

  Args:
    images: real or complex [H, W] or [S, H, W], or real [B, H, W, C].
    argument: the name of the caller's argument, for errors.

  Returns:
    [B, H, W, C], where complex numbers become two channels, and the layout they had.

  Raises:
    ArgumentError: another rank, complex images of rank 4, or no numbers.
  """
  rank, kind = np.ndim(images), jnp.result_type(images)
  layout = Layout(rank, jnp.issubdtype(kind, jnp.complexfloating))
  if rank not in (2, 3, 4) or (rank == 4 and layout.is_complex):
    expected = "[H, W] or [S, H, W], real or complex, or real [B, H, W, C]"
    raise ArgumentError(argument, described(images), expected)
  images = jnp.asarray(images)
  if not jnp.issubdtype(kind, jnp.inexact):
    images = images.astype(jnp.float32)
  if rank < 4:
    parts = [images.real, images.imag] if layout.is_complex else [images]
    images = jnp.stack(parts, axis=-1)
  return (images[None] if rank == 2 else images), layout


def described(array: ArrayLike) -> str:
  """Type and shape of an array, for errors."""
  return f"{jnp.result_type(array)} of shape {np.shape(array)}"
