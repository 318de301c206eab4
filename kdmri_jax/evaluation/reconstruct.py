"""Networks -> reconstructed volumes -> h5 files."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import jax
import numpy as np
import tqdm

from kdmri_jax.data import single
from kdmri_jax.data.dataset import SliceSet
from kdmri_jax.data.volume import prepare
from kdmri_jax.errors import UserError
from kdmri_jax.physics import masks
from kdmri_jax.training import batches, parallel, trained
from kdmri_jax.training.checkpoint import saving
from kdmri_jax.training.step import make_predict
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


def run_file(
  workdir: pathlib.Path,
  stage: str,
  path: pathlib.Path,
  *,
  mask_path: str = "",
  batch_size: int = 4,
) -> dict[str, np.ndarray]:
  """Reconstructs one file with a trained stage.

  Args:
    workdir: work directory of the run.
    stage: whose best weights to use.
    path: undersampled k-space or fully sampled images, see `data.single`.
    mask_path: .npy file of the mask; "" makes the run's own for the slice shape.
    batch_size: slices at a time.

  Returns:
    "reconstruction", "zero_filled" and, for images, "target": float32 [S, H, W], in
    the units of the file; magnitudes.

  Raises:
    UserError: the file, the mask or the run cannot be used.
  """
  kspace = single.read_kspace(path)
  volume = None if kspace is not None else single.read_images(path)
  config = trained.read_config(workdir)
  if volume is not None:
    whole = dataclasses.replace(config.data, slices_per_volume=0, crop=(0, 0))
    volume = prepare(volume, whole)
  shape = (kspace if volume is None else volume.target).shape[1:]
  mask = masks.load(mask_path, shape) if mask_path else None
  network = trained.load(workdir, stage, shape, mask)
  channels = network.model.channels
  if volume is None:
    slices, scale = _slices_of_kspace(kspace, network.mask, channels, path)
  else:
    slices = Slices(_with_channels(volume.target, channels, path))
    scale = volume.record["scale_factor"]
  devices = parallel.choose_devices(0, batch_size)
  result = run(
    make_predict(network.model, devices),
    network.params,
    slices,
    network.mask,
    batch_size,
    f"reconstructing {path.name}",
  )
  images = {"reconstruction": result.image, "zero_filled": result.zero_filled}
  if volume is not None:
    images["target"] = slices.target
  return {k: scale * np.linalg.norm(x, axis=-1) for k, x in images.items()}


def _slices_of_kspace(kspace, mask, channels: int, path) -> tuple[Slices, float]:
  """Scales k-space as its zero-filled image's maximum, the only one there is."""
  outside = np.abs(kspace).max(axis=0)[mask == 0].max(initial=0)
  if outside > 1e-6 * np.abs(kspace).max():
    raise UserError(
      path,
      "k-space samples where the mask has none",
      "k-space undersampled by this mask, zero frequency at [0, 0]",
      "Name the mask it was measured with: --mask=FILE.npy.",
    )
  image = np.fft.ifft2(kspace, norm="ortho").astype(np.complex64)
  scale = float(np.abs(image).max()) or 1.0
  kspace, image = kspace / scale, image / scale
  if channels == 1:
    zero_filled = np.abs(image)[..., None]
  else:
    zero_filled = np.stack([image.real, image.imag], axis=-1)
  # The target only gives the shape: with k-space nothing is simulated from it.
  return Slices(zero_filled, kspace.astype(np.complex64), zero_filled), scale


def _with_channels(images: np.ndarray, channels: int, path) -> np.ndarray:
  if np.iscomplexobj(images) and channels == 1:
    raise UserError(
      path,
      "complex images",
      "real ones, as the network was trained on",
      "Store their magnitude, or train a network with channels=2.",
    )
  if channels == 1:
    return images[..., None]
  return np.stack([images.real, images.imag], axis=-1).astype(np.float32)
