"""Applies a distillation method to two networks, with adapters where layers differ."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from kdmri_jax.distillation._layers import Conv
from kdmri_jax.distillation._vectors import shrink
from kdmri_jax.distillation.method import Context, Method
from kdmri_jax.types import Array

Sizes = tuple[tuple[int, int], ...]


class AdaptedMethod(nn.Module):
  """A method with its trained weights: adapters and the method's own.

  Attributes:
    method: the method.
    channels: channels of the 1x1 adapter of each guided layer, 0 for none.
    sizes: height and width to which both networks' maps of each layer are pooled; ()
      for no pooling.
  """

  method: Method
  channels: tuple[int, ...] = ()
  sizes: Sizes = ()

  @nn.compact
  def __call__(
    self,
    features: tuple[Array, ...],
    teacher: Any,
    context: Context,
    gather: Callable[[Any], Any] | None = None,
  ) -> Array:
    """The method's value, a scalar.

    Args:
      features: the student's guided layers [B, H, W, C].
      teacher: from `represent_teacher`.
      context: of the same images.
      gather: joins a pytree of per-device arrays along the batch; None on one device.
    """
    features = self._pool(features)
    if any(self.channels):
      features = tuple(
        Conv(count, (1, 1), name=f"adapter_{k}")(f) if count else f
        for k, (f, count) in enumerate(zip(features, self.channels, strict=True), 1)
      )
    student = self.method.represent(features)
    if gather and self.method.couples_batch:
      student, teacher = gather((student, teacher))
    arguments = (student, teacher, context)[: 3 if self.method.uses_context else 2]
    if self.method.owns_weights:
      return self.method.distance(name="method")(*arguments)
    return self.method.distance(*arguments)

  @property
  def owns_weights(self) -> bool:
    """Whether there are weights to train."""
    return self.method.owns_weights or any(self.channels)

  def represent_own(self, features: tuple[Array, ...]) -> Any:
    """The representation of the network that gives the hints, pytree of [B, ...]."""
    return self.method.represent(self._pool(features))

  def represent_teacher(self, features: tuple[Array, ...]) -> Any:
    """As `represent_own`, for a frozen teacher: the gradient stops here."""
    return jax.lax.stop_gradient(self.represent_own(features))

  def _pool(self, features: tuple[Array, ...]) -> tuple[Array, ...]:
    if not self.sizes:
      return features
    return tuple(shrink(x, size) for x, size in zip(features, self.sizes, strict=True))


def fit(
  method: Method, student: tuple[Array, ...], teacher: tuple[Array, ...]
) -> tuple[tuple[int, ...], Sizes]:
  """The adapters and sizes that make two networks' layers comparable.

  Args:
    method: the method that compares them.
    student: its guided layers, or their shapes as from `jax.eval_shape`.
    teacher: its hint layers, likewise.

  Returns:
    `channels` and `sizes` for `AdaptedMethod`, each () where nothing is needed.
  """
  pairs = list(zip(student, teacher, strict=False))
  sizes = tuple(tuple(map(min, s.shape[1:3], t.shape[1:3])) for s, t in pairs)
  channels = tuple(t.shape[3] if s.shape[3] != t.shape[3] else 0 for s, t in pairs)
  same_size = all(s.shape[1:3] == t.shape[1:3] for s, t in pairs)
  if same_size or method.matches not in ("shape", "size"):
    sizes = ()
  if not any(channels) or method.matches not in ("shape", "channels"):
    channels = ()
  return channels, sizes
