"""Validates a stage's network, for the choice of its best weights."""

import collections
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from kdmri_jax.training import batches, parallel, processes
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_networks import Teacher
from kdmri_jax.training.step import Steps, TrainState
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of


class Validation:
  """Validates one stage.

  Args:
    experiment: the experiment.
    parts: the slices, with the teacher's hints if these are kept.
    steps: the stage's compiled functions.
    teacher: its teacher, on the devices.
    acquisitions: how slices of each shape are measured, on the devices.
  """

  def __init__(
    self,
    experiment: Experiment,
    parts: Sequence[Slices],
    steps: Steps,
    teacher: Teacher,
    acquisitions: Mapping[Shape, Acquisition],
  ):
    self._steps, self._teacher, self._acquisitions = steps, teacher, acquisitions
    devices, config = experiment.devices, experiment.config
    self._batch_size, self._one_device = config.batch_size, len(devices) == 1
    self._parts = parallel.keep(tuple(parts), devices)
    self._order = batches.in_order(batches.counts(parts), config.batch_size)
    asked, count = config.steps_per_dispatch, len(self._order)
    self._in_groups = parallel.at_once(asked, self._parts, devices, count) > 1

  def first(self, state: TrainState) -> dict[str, float]:
    """The values of the terms in the first batch, or in the first group of batches."""
    _, values = jax.device_get(next(self._validated(state)))
    return jax.tree.map(lambda x: float(np.mean(x)), values)

  def whole(self, state: TrainState) -> dict[str, float]:
    """Means over the slices; each slice counts once.

    Returns:
      "mse" and "l1" of the images, every term of the loss, and "loss".
    """
    sums: dict[str, float] = collections.defaultdict(float)
    for errors, values in map(jax.device_get, self._validated(state)):
      size = errors["mse"].shape[-1]
      for key, value in errors.items():
        sums[key] += float(np.sum(value))
      for key, value in values.items():
        sums[key] += float(np.sum(value)) * size
    count = sum(len(batch.rows) for batch in self._order)
    means = {key: value / count for key, value in sums.items()}
    return processes.of_first(lambda: means)  # other hosts may round otherwise

  def _validated(self, state: TrainState) -> Iterator:
    """Errors and values of each batch, or of each group of equal batches."""
    if self._in_groups:
      for group in batches.alike(self._order):
        part = self._parts[group[0].part]
        rows = np.stack([batch.rows for batch in group])
        acquisition = self._acquisitions[shape_of(part)]
        yield self._steps.validate_many(state, self._teacher, part, rows, acquisition)
      return
    whole = [len(batch.rows) == self._batch_size for batch in self._order]
    order = [
      batches.shared([batch])[0] if is_whole else batch
      for batch, is_whole in zip(self._order, whole, strict=True)
    ]
    loaded = batches.load(self._parts, order)
    for batch, is_whole in zip(loaded, whole, strict=True):
      arguments = state, self._teacher, batch, self._acquisitions[shape_of(batch)]
      if self._one_device or is_whole:
        yield self._steps.validate(*arguments)
      else:  # on one device, so with arrays that are not distributed over several
        yield self._steps.validate_rest(*jax.device_get(arguments))
