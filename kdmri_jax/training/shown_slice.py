"""The validation slice that trackers show while a stage trains: always the same."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kdmri_jax.training import batches
from kdmri_jax.training.trackers import picture
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of


def draw(
  predict: Callable[..., Any],
  params: Any,
  parts: Sequence[Slices],
  acquisitions: Mapping[Shape, Acquisition],
  epoch: int,
) -> np.ndarray:
  """The picture of the middle slice of the first part, see `picture.of_slice`.

  Args:
    predict: from `step.make_predict`.
    params: weights of the network.
    parts: the validation slices.
    acquisitions: how slices of each shape are measured.
    epoch: completed epochs.
  """
  slices = batches.take(parts[0], np.array([len(parts[0].target) // 2]))
  zero_filled, image, _ = predict(params, slices, acquisitions[shape_of(slices)])
  shown = [np.asarray(x)[0] for x in (zero_filled, image, slices.target)]
  return picture.of_slice(*shown, epoch=epoch)
