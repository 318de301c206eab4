"""Lets losses of batches accept images of every rank."""

import functools
from collections.abc import Callable

import numpy as np
from jax.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.image_layout import described, to_batch
from kdmri_jax.types import Array


def of_images(loss: Callable[..., Array]) -> Callable[[ArrayLike, ArrayLike], Array]:
  """Lets a loss take [H, W], [S, H, W] or [B, H, W, C].

  Args:
    loss: (prediction, target), float [B, H, W, C], -> [B].

  Returns:
    The loss with these arguments; an `ArgumentError` where their shapes differ.
  """

  @functools.wraps(loss)
  def of_any_rank(prediction: ArrayLike, target: ArrayLike) -> Array:
    p, layout = to_batch(prediction, "prediction")
    t, _ = to_batch(target, "target")
    if np.ndim(prediction) != np.ndim(target) or p.shape != t.shape:
      expected = f"{described(prediction)}, as the prediction"
      raise ArgumentError("target", described(target), expected)
    return layout.each(loss(p, t))

  return of_any_rank
