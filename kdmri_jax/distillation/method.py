"""What every distillation method is made of."""

import dataclasses
from collections.abc import Callable
from typing import Any

from kdmri_jax.types import Array


@dataclasses.dataclass(frozen=True)
class Method:
  """A distance between what a student and a teacher computed for the same images.

  It is split in two, so that a frozen teacher's half can be computed once:
  `represent` reduces the layers of one network, image by image, and `distance`
  compares the two results.

  Attributes:
    represent: tuple of features [B, H, W, C] -> pytree of arrays [B, ...]; image b
      of the result depends on image b only.
    distance: (student's, teacher's representation) -> scalar, the mean over images.
    couples_batch: True where `distance` mixes the images of a batch; it is then
      given the batch of all devices together.
  """

  represent: Callable[[tuple[Array, ...]], Any]
  distance: Callable[[Any, Any], Array]
  couples_batch: bool = False

  def __call__(self, student: tuple[Array, ...], teacher: tuple[Array, ...]) -> Array:
    """The distance between two tuples of layers; the caller stops the gradient."""
    return self.distance(self.represent(student), self.represent(teacher))
