"""A student's cascades in the chain of its teacher's, as in BERT-of-Theseus.

Xu et al., EMNLP 2020 (arXiv 2002.02925), replace modules of a transformer by smaller
ones at random while these are trained, at a rate that rises linearly to 1. Here the
modules are the cascades of two DC-CNNs, each with its data consistency.
"""

import functools
from typing import Any

import jax
from flax import linen as nn

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.types import Array, CoilMeasurement, Measurement


def check(student: nn.Module, teacher: nn.Module | None) -> None:
  """Refuses networks whose cascades cannot take each other's places.

  Raises:
    ArgumentError: they are not DC-CNNs of equally many cascades, two at least; names
      `swap`.
  """

  def cascades(network: nn.Module | None) -> int:
    return network.cascades if isinstance(network, DCCNN) else 0

  def described(network: nn.Module | None) -> str:
    if count := cascades(network):
      return f"a DCCNN of {count} cascades"
    return f"a {type(network).__name__}" if network else "given images"

  if cascades(student) != cascades(teacher) or cascades(student) < 2:
    found = f"{described(student)}, and {described(teacher)} as its teacher"
    expected = "two DC-CNNs of equally many cascades, two at least"
    remedy = "Set equal `cascades`, or swap=0."
    raise ArgumentError("swap", found, expected, remedy)


def draw(key: Array, step: Array, steps: int, cascades: int) -> Array:
  """Draws the cascades that are the teacher's.

  Each is one with the probability max(0, 1 - step / steps), except one at least, which
  is always the student's: without any there would be no gradient.

  Args:
    key: random key of the step.
    step: completed steps of the stage.
    steps: steps until the student is alone.
    cascades: number of cascades.

  Returns:
    bool [cascades].
  """
  draws = jax.random.uniform(key, (cascades,))
  return (draws < 1 - step / steps) & (draws < draws.max())


def chain(
  models: tuple[DCCNN, DCCNN],
  params: tuple[Any, Any],
  image: Array,
  measurement: Measurement | CoilMeasurement,
  of_teacher: Array,
) -> dict[str, Array]:
  """Runs cascades of the student and of the teacher in turn.

  One draw holds for the whole batch, so only the cascade that is chosen is computed.

  Args:
    models: student and teacher, see `check`.
    params: the weights of both.
    image: zero-filled image, float32 [B, H, W, C].
    measurement: k-space and mask.
    of_teacher: for each cascade whether it is the teacher's, bool [cascades].

  Returns:
    The image after each cascade, "consistency_1" ..., and the last one as "image".
  """

  def cascade(k: int, c: int, image: Array) -> Array:
    variables = {"params": params[k]}
    return models[k].apply(variables, image, measurement, first=c, last=c).image

  images = {}
  for c in range(1, models[0].cascades + 1):
    student, teacher = (functools.partial(cascade, k, c) for k in (0, 1))
    image = jax.lax.cond(of_teacher[c - 1], teacher, student, image)
    images[f"consistency_{c}"] = image
  return {**images, "image": image}
