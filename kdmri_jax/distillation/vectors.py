"""Lengths, directions and embeddings of activations; a sum over layers."""

from collections.abc import Callable

import jax.numpy as jnp

from kdmri_jax.types import Array

_TINY = 1e-12


def norm(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
  """|x|_2 along the axes, which stay with length 1.

  Below 1e-12 the result is 0 with gradient 0, where the square root alone has none.
  """
  square = jnp.square(x).sum(axis=axis, keepdims=True)
  alive = square > _TINY**2
  return jnp.where(alive, jnp.sqrt(jnp.where(alive, square, 1)), 0)


def unit(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
  """x / |x|_2 along the axes.

  A vector shorter than 1e-12, such as a silent channel, has no direction: the result
  is 0 with gradient 0. Adding a small number to |x| instead, as published code does,
  gives it a gradient as large as the inverse of that number.
  """
  length = norm(x, axis)
  alive = length > 0
  return jnp.where(alive, x / jnp.where(alive, length, 1), 0)


def embed(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """One vector an image: each channel's mean over the pixels.

  Args:
    features: layers, float [B, H, W, C].

  Returns:
    One [B, C] a layer.
  """
  return tuple(feature.mean(axis=(1, 2)) for feature in features)


def sum_over_layers(distance: Callable[..., Array]) -> Callable[..., Array]:
  """Makes the distance of one layer that of several.

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
