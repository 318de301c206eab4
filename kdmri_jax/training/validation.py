"""How good a stage's network is on the slices that its best weights are chosen by."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from kdmri_jax.training import batches, parallel
from kdmri_jax.training.networks import Teacher
from kdmri_jax.training.setting import Setting
from kdmri_jax.training.step import Steps, TrainState
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of


class Validation:
  """Validates one stage.

  Args:
    steps: its compiled functions.
    setting: what it is trained with.
    parts: the slices, with the teacher's hints where they are kept.
    teacher: its teacher.
    acquisitions: `setting.acquisitions`, on the devices.
  """

  def __init__(
    self,
    steps: Steps,
    setting: Setting,
    parts: Sequence[Slices],
    teacher: Teacher,
    acquisitions: Mapping[Shape, Acquisition],
  ):
    self._steps, self._setting = steps, setting
    self._parts = parallel.keep(tuple(parts), setting.devices)
    self._order = batches.in_order(batches.counts(parts), setting.batch_size)
    self._one_teacher = teacher
    self._teacher = parallel.replicate(teacher, setting.devices)
    self._acquisitions = acquisitions
    self._at_once = parallel.at_once(
      setting.steps_per_dispatch, self._parts, setting.devices, len(self._order)
    )

  def first(self, state: TrainState) -> dict[str, float]:
    """The values of the terms in the first batch."""
    (batch,) = batches.load(self._parts, self._order[:1])
    _, values = jax.device_get(self._batch(state, batch))
    return jax.tree.map(float, values)

  def whole(self, state: TrainState) -> dict[str, float]:
    """Means over the slices, each of which counts once.

    Returns:
      "mse" and "l1" of the images, every term of the loss, and "loss".
    """
    if self._at_once > 1:
      groups = batches.alike(self._order)
      validated = (self._group(state, group) for group in groups)
    else:
      loaded = batches.load(self._parts, self._order)
      validated = (self._batch(state, batch) for batch in loaded)
    sums: dict[str, float] = {}
    for errors, values in map(jax.device_get, validated):
      for key, value in errors.items():
        sums[key] = sums.get(key, 0.0) + float(np.sum(value))
      size = errors["mse"].shape[-1]
      for key, value in values.items():
        sums[key] = sums.get(key, 0.0) + float(np.sum(value)) * size
    count = sum(len(batch.rows) for batch in self._order)
    return {key: value / count for key, value in sums.items()}

  def _batch(self, state: TrainState, batch: Slices):
    """The errors of its images, and the values of the terms."""
    shape, one_device = shape_of(batch), len(self._setting.devices) == 1
    if one_device or len(batch.target) == self._setting.batch_size:
      acquisition = self._acquisitions[shape]
      return self._steps.validate(state, self._teacher, batch, acquisition)
    # On one device, so with arrays that are not spread over several.
    acquisition = self._setting.acquisitions[shape]
    return self._steps.validate_rest(
      jax.device_get(state), self._one_teacher, batch, acquisition
    )

  def _group(self, state: TrainState, group: Sequence[batches.Rows]):
    """The same of batches that are alike, in one dispatch: all with one more axis."""
    part = self._parts[group[0].part]
    rows = np.stack([batch.rows for batch in group])
    acquisition = self._acquisitions[shape_of(part)]
    return self._steps.validate_many(state, self._teacher, part, rows, acquisition)
