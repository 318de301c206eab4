"""A record of the networks' inputs in training, to compare a scan with later."""

from typing import Any

import jax
import numpy as np

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data import tasks, traits
from kdmri_jax.data.dataset import Dataset
from kdmri_jax.training import batches
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.types import Acquisition, shape_of

_MOST = 128  # slices, which bounds the time and what is read from files
_AT_ONCE = 8


def describe(config: ExperimentConfig, dataset: Dataset) -> dict[str, Any]:
  """Task -> the traits of its inputs, see `traits.summary`; without those not known.

  The slices are chosen evenly from the training set. Their noise is that of an
  evaluation.
  """
  found = {}
  for number, task in enumerate(config.all_tasks):
    rows, subjects = [], []
    for part, slices in enumerate(dataset.train.parts):
      whole = dataset.acquisitions[shape_of(slices)]
      own = Acquisition(*(None if x is None else x[[number]] for x in whole))
      (slices,) = tasks.assign(
        [slices], [0], count=1, noisy=own.snr is not None, name="train"
      )
      count = len(slices.target)
      share = count / sum(len(each.target) for each in dataset.train.parts)
      most = min(count, max(round(_MOST * share), 2))
      chosen = np.unique(np.linspace(0, count - 1, most).astype(int))
      owners = np.empty(count, object)
      for volume, span in dataset.train.of_part(part):
        owners[span.start : span.stop] = volume.subject
      for some in np.array_split(chosen, -(-len(chosen) // _AT_ONCE)):
        images = jax.device_get(complete(batches.take(slices, some), own).zero_filled)
        images = np.linalg.norm(images, axis=-1)
        filled = images.any(axis=(1, 2))
        rows.append(traits.of_slices(images))
        subjects += owners[some][filled].tolist()
    if known := traits.summary(np.concatenate(rows), subjects):
      found[task] = known
  return found
