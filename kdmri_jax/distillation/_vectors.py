"""Directions and embeddings of activations; a sum over layers."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from kdmri_jax.ops.norm import norm
from kdmri_jax.types import Array

SIDE = 16


def unit(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
  """x / |x|_2 along the axes.

  A vector shorter than 1e-12, such as an inactive channel, has no direction: the result
  is 0 with gradient 0. Published code adds a small number to |x| instead, which gives a
  gradient as large as the inverse of that number.
  """
  length = norm(x, axis)
  alive = length > 0
  return jnp.where(alive, x / jnp.where(alive, length, 1), 0)


def shrink(feature: Array, size: tuple[int, int] = (SIDE, SIDE)) -> Array:
  """Averages a map over windows that cover it, to at most the given size.

  Neighbouring windows share a pixel where their number does not divide height or width.

  Args:
    feature: activations, float [B, H, W, C].
    size: windows along height and width, (h, w).

  Returns:
    [B, min(H, h), min(W, w), C].
  """
  counts = tuple(map(min, feature.shape[1:3], size))
  if counts == feature.shape[1:3]:
    return feature
  rows, columns = (
    _averages(length, count).astype(feature.dtype)
    for length, count in zip(feature.shape[1:3], counts, strict=True)
  )
  precision = lax.Precision.HIGHEST
  feature = jnp.einsum("ih,bhwc->biwc", rows, feature, precision=precision)
  return jnp.einsum("jw,biwc->bijc", columns, feature, precision=precision)


def _averages(length: int, count: int) -> np.ndarray:
  """Matrix [count, length] of means over windows."""
  matrix = np.zeros((count, length))
  for k in range(count):
    window = slice(k * length // count, math.ceil((k + 1) * length / count))
    matrix[k, window] = 1 / (window.stop - window.start)
  return matrix


def embed(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """One vector per image: its maps, averaged to at most 16x16 and flattened.

  Relational methods were designed for the embedding before a classifier, each channel's
  mean over all pixels. For layers of a reconstruction network these means hardly differ
  between images: between slices of phantoms their cosines were 0.996 to 1.000, against
  0.97 to 1.00 for the maps of 16x16 and 0.95 to 0.99 for those of full size, which take
  50 times the memory at 120x120.

  Args:
    features: layers, float [B, H, W, C].

  Returns:
    One [B, min(H, 16) min(W, 16) C] per layer.
  """
  return tuple(shrink(feature).reshape(len(feature), -1) for feature in features)


def sum_over_layers(distance: Callable[..., Array]) -> Callable[..., Array]:
  """Turns the distance of one layer into the sum over several.

  Args:
    distance: (student's, teacher's representation of a layer, *rest) -> scalar.

  Returns:
    (tuple of student's, tuple of teacher's, *rest) -> the sum; a ValueError where
    their numbers differ.
  """

  def summed(student: tuple[Array, ...], teacher: tuple[Array, ...], *rest) -> Array:
    pairs = zip(student, teacher, strict=True)
    return sum(distance(s, t, *rest) for s, t in pairs)

  return summed
