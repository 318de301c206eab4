"""The scale in which a network takes images of which no target is known.

In training a volume is divided by the largest magnitude of its target. Its input, the
zero-filled image, is darker, the more so the fewer lines are sampled. Divided by its
own largest magnitude it would be brighter than in training. So a scan is brought to the
brightness of the training inputs, which depends on no single pixel.
"""

import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import traits
from kdmri_jax.types import Array

BRIGHTER = 100  # one pixel of so many exceeds the brightness


class InputScale(NamedTuple):
  """How a volume is divided for a network.

  Attributes:
    statistic: "brightness" or "largest" (the largest magnitude) of the volume; "none"
      for volumes that are not divided.
    level: what the statistic is in the network's scale.
  """

  statistic: str
  level: float = 1.0

  def divisor(self, images: Array, numpy: types.ModuleType = np) -> Array:
    """The divisor of a volume, a scalar; 1 for a volume without signal.

    Args:
      images: magnitudes of the network's input, [S, H, W].
      numpy: `numpy` or `jax.numpy`.
    """
    if self.statistic == "none":
      return numpy.ones((), np.float32)
    largest = images.max()
    divisor = numpy.where(largest > 0, largest, 1)
    if self.statistic == "largest":
      return divisor
    bright = brightness(images, numpy)
    return numpy.where(bright > 0, bright / self.level, divisor)


UNSCALED, LARGEST = InputScale("none"), InputScale("largest")


def of_training(
  config: DataConfig, record: Mapping[str, Any], task: str = ""
) -> InputScale:
  """The scale of the inputs that a network was trained on.

  Where inputs were given in training, their own largest magnitude was the divisor. It
  is also the divisor where the brightness is not recorded.

  Args:
    config: the run's settings of its data.
    record: the run's record of its data.
    task: name of the task.
  """
  if config.scaling == "none":
    return UNSCALED
  known = (record.get("inputs") or {}).get(task)
  if record.get("given_inputs") or not known:
    return LARGEST
  level = traits.brightness(known)
  return InputScale("brightness", level) if level else LARGEST


def brightness(images: Array, numpy: types.ModuleType = np) -> Array:
  """The magnitude that one pixel of 100 exceeds, mean over the slices with signal.

  Args:
    images: magnitudes, [S, H, W].
    numpy: `numpy` or `jax.numpy`.

  Returns:
    A scalar; 0 where no slice has signal in so many pixels.
  """
  flat = images.reshape(images.shape[0], -1)
  pixels = flat.shape[1]
  place = pixels - 1 - pixels // BRIGHTER
  each = numpy.take(numpy.sort(flat, axis=1), place, axis=1)
  return each.sum() / numpy.maximum((each > 0).sum(), 1)
