"""A record of the networks' inputs in training, to compare a scan with later."""

from typing import Any

import numpy as np

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data import tasks, traits
from kdmri_jax.data.dataset import Dataset
from kdmri_jax.training import measurements
from kdmri_jax.types import Acquisition, shape_of

_MOST = 128  # slices, which bounds the time and what is read from files


def describe(config: ExperimentConfig, dataset: Dataset) -> dict[str, Any]:
  """Task -> the traits of its inputs, see `traits.summary`; without those not known.

  The slices are chosen evenly from the training set. Their noise is that of an
  evaluation.
  """
  found = {}
  for number, task in enumerate(config.all_tasks):
    if known := traits.summary(*_of(dataset, "train", number)):
      found[task] = known
  return found


def unlike(dataset: Dataset) -> list[str]:
  """A sentence on test inputs that differ from those of the training; [] if alike.

  Args:
    dataset: of one task, see `Experiment.for_task`.
  """
  known = traits.summary(*_of(dataset, "train", 0))
  own, _ = _of(dataset, "test", 0)
  if known is None or "limit" not in known or not len(own):
    return []
  far = traits.distance(known, own)
  if far <= known["limit"]:
    return []
  return [
    "The test images differ in their statistics (intensities, frequencies, extent) "
    f"from those of the training: distance {far:.1f}, for the training's own subjects "
    f"about 1, up to {known['limit']:.1f} counts as alike."
  ]


def _of(dataset: Dataset, name: str, number: int) -> tuple[np.ndarray, list[str]]:
  """Traits of the inputs of a split for a task's number, and the subject of each."""
  rows, subjects = [], []
  split = getattr(dataset, name)
  total = sum(len(each.target) for each in split.parts)
  for part, slices in enumerate(split.parts):
    whole = dataset.acquisitions[shape_of(slices)]
    own = Acquisition(*(None if x is None else x[[number]] for x in whole))
    (slices,) = tasks.assign(
      [slices], [0], count=1, noisy=own.snr is not None, name=name
    )
    count = len(slices.target)
    most = min(count, max(round(_MOST * (count / total)), 2))
    chosen = np.unique(np.linspace(0, count - 1, most).astype(int))
    owners = np.empty(count, object)
    for volume, span in split.of_part(part):
      owners[span.start : span.stop] = volume.subject
    filled: list[bool] = []
    for images, _ in measurements.simulate(slices, chosen, own):
      images = np.linalg.norm(images, axis=-1)
      filled += images.any(axis=(1, 2)).tolist()
      rows.append(traits.of_slices(images))
    subjects += owners[chosen][filled].tolist()
  return np.concatenate(rows), subjects
