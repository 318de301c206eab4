"""Networks -> reconstructed volumes -> h5 files."""

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import jax
import numpy as np
import tqdm

from kdmri_jax.data.dataset import SliceSet
from kdmri_jax.training import batches
from kdmri_jax.training.checkpoint import saving
from kdmri_jax.types import Slices


class Reconstruction(NamedTuple):
  """One slice set through one network.

  Attributes:
    zero_filled: float32 [N, H, W, C].
    image: float32 [N, H, W, C].
  """

  zero_filled: np.ndarray
  image: np.ndarray


def run(
  predict: Callable, params: Any, slices: Slices, mask, batch_size: int, name: str
) -> Reconstruction:
  """Reconstructs every slice.

  Args:
    predict: from `training.step.make_predict`.
    params: the network's weights.
    slices: the slices; their target only serves to simulate k-space.
    mask: [H, W].
    batch_size: slices at a time; must divide over the devices of `predict`.
    name: shown beside the progress bar.
  """
  count = len(slices.target)
  parts = []
  steps = batches.steps_per_epoch(count, batch_size)
  order = batches.in_order(count, batch_size)
  for indices, new in tqdm.tqdm(order, name, steps, unit="batch", disable=None):
    zero_filled, image = jax.device_get(
      predict(params, batches.take(slices, indices), mask)[:2]
    )
    parts.append((zero_filled[:new], image[:new]))
  return Reconstruction(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def split_volumes(images: np.ndarray, slice_set: SliceSet) -> Iterator[tuple]:
  """Pairs each volume with its slices' magnitude, float32 [S, H, W]."""
  for volume, (start, stop) in zip(slice_set.volumes, slice_set.spans, strict=True):
    yield volume, np.linalg.norm(images[start:stop], axis=-1)


def write(
  directory: pathlib.Path, images: np.ndarray, slice_set: SliceSet, key: str
) -> None:
  """Writes a file NAME.h5 for each volume, (slices, H, W) float32 under `key`.

  Args:
    directory: folder; made when missing, its files of the same name are replaced.
    images: [N, H, W, C]; complex images are written as magnitude.
    slice_set: whose volumes they are.
    key: "reconstruction", as KD-MRI and fastMRI users expect, or "target".

  Raises:
    UserError: the disk is full or the folder cannot be written.
  """
  with saving(directory):
    directory.mkdir(parents=True, exist_ok=True)
    for volume, image in split_volumes(images, slice_set):
      path = directory / f"{volume.name}.h5"
      partial = path.with_suffix(".partial")
      with h5py.File(partial, "w") as file:
        file[key] = image
        file.attrs["subject"] = volume.subject
      os.replace(partial, path)
