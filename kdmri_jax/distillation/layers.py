"""What the methods that own weights are built from."""

import functools

import jax
from flax import linen as nn

from kdmri_jax.types import Array

# Zero-padded, with bias; full float32 precision on accelerators too.
Conv = functools.partial(nn.Conv, precision=jax.lax.Precision.HIGHEST)


class SumOverLayers(nn.Module):
  """Sum of a distance that has weights of its own for each layer.

  A subclass defines `compare(number, student, teacher, *context)`, the scalar of one
  layer. What it makes there is named by the layer's number, from 1.
  """

  @nn.compact
  def __call__(
    self, student: tuple[Array, ...], teacher: tuple[Array, ...], *context
  ) -> Array:
    """The value of a batch.

    Args:
      student: guided layers [B, H, W, Cs].
      teacher: hint layers [B, H, W, Ct].
      *context: the `Context` of the same images, if the method uses it.

    Returns:
      Scalar, mean over the images.

    Raises:
      AssertionError: B, H or W differ.
      ValueError: the number of layers differs.
    """
    pairs = enumerate(zip(student, teacher, strict=True), 1)
    return sum(self.compare(k, s, t, *context) for k, (s, t) in pairs)
