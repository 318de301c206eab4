"""The record of a distillation method, and the context that it may read."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from flax import linen as nn

from kdmri_jax.types import Array, Measurement


class Context(NamedTuple):
  """Further inputs of a method, besides the two representations.

  Attributes:
    target: fully sampled images, float32 [B, H, W, C].
    image: the student's reconstruction [B, H, W, C].
    measurement: the measured k-space and its mask.
    teacher_error: the teacher's mean squared error on each image, [B].
    error_range: largest minus smallest teacher_error over the training set, a scalar.
    draws: a different number for each image and training step, uint32 [B], as seed of
      random draws: `jax.vmap(jax.random.key)(draws)`.
  """

  target: Array
  image: Array
  measurement: Measurement
  teacher_error: Array
  error_range: Array
  draws: Array


@dataclasses.dataclass(frozen=True)
class Method:
  """A distance between a student's and a teacher's features of the same images.

  It has two parts, so that a frozen teacher's part can be computed once: `represent`
  reduces the layers of one network, image by image, and `distance` compares the two
  results.

  Attributes:
    represent: tuple of features [B, H, W, C] -> pytree of arrays [B, ...]; image b
      of the result depends on image b only.
    distance: (student's, teacher's representation) -> scalar, the mean over images; or
      the class of a linen module with the same call, whose weights are trained with the
      student and dropped at the end.
    couples_batch: True where `distance` mixes the images of a batch; it then receives
      the batch of all devices together.
    uses_context: True where `distance` takes a `Context` as third argument; not
      together with `couples_batch`.
    matches: the dimensions that a guided layer must share with its hint: "shape"
      (height, width and channels), "size" (height and width), "channels", or "" for
      nothing. Where they differ, the student's layer gets a trained 1x1 convolution and
      the larger map is pooled.
    reads_image: True for methods of the reconstructed image, False for methods of
      feature maps.
    unordered: True where `represent` does not depend on the order of the channels, so
      that the representations of several teachers have a mean.
  """

  represent: Callable[[tuple[Array, ...]], Any]
  distance: Callable[..., Array] | type[nn.Module]
  couples_batch: bool = False
  uses_context: bool = False
  matches: str = "shape"
  reads_image: bool = False
  unordered: bool = False

  def __post_init__(self):
    if self.couples_batch and self.uses_context:
      raise ValueError("a method that couples the batch is given no context")

  @property
  def owns_weights(self) -> bool:
    """Whether `distance` is a module."""
    return isinstance(self.distance, type)


def identity(features: tuple[Array, ...]) -> tuple[Array, ...]:
  """The representation of methods that compare the layers as they are."""
  return features
