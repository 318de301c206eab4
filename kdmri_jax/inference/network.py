"""A trained network as an object: `kdmri_jax.load`."""

import functools
import os
import pathlib
import warnings
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.typing import ArrayLike

from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.config.starting import PRETRAINED
from kdmri_jax.data import input_scale
from kdmri_jax.data.input_scale import InputScale
from kdmri_jax.data.slice_set import from_channels
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.image_layout import described, to_batch
from kdmri_jax.inference import account, reconstruct
from kdmri_jax.inference import kspace as kspace_lib
from kdmri_jax.inference import load as load_lib
from kdmri_jax.inference.account import Training
from kdmri_jax.models import features
from kdmri_jax.physics.masks import coverage
from kdmri_jax.physics.sampled import is_sampled
from kdmri_jax.pretrained import Card, store
from kdmri_jax.training.step import make_predict
from kdmri_jax.types import Acquisition, Array, CoilMeasurement, Measurement


class Network:
  """A trained network with its weights.

  Attributes:
    config: its experiment.
    stage: name of the stage that was trained.
    model: the linen module, for masks like the run's: any mask if that is 2-D, else
      Cartesian masks of its phase-encode axis.
    parameters: its best weights, a pytree; `model.apply` takes {"params": parameters}.
    training: what it was trained on; None where unknown.
    card: of a pretrained network; None of others.
    mask: of its training, uint8 [H, W], for the first size of its slices; None where
      unknown.
  """

  def __init__(
    self,
    config: ExperimentConfig,
    stage: str,
    model: nn.Module,
    parameters: Any,
    training: Training | None = None,
    card: Card | None = None,
    mask: np.ndarray | None = None,
  ) -> None:
    self.config, self.stage, self.training = config, stage, training
    self.card, self.mask = card, mask
    self.model, self.parameters = model, parameters
    self._compiled = functools.cache(make_predict)

  def __repr__(self) -> str:
    count = features.count_parameters(self.parameters)
    kind = type(self.model).__name__
    return f"<{kind} of stage {self.stage!r}, {count} parameters>"

  @property
  def input_scale(self) -> InputScale:
    """How a volume is divided for the network."""
    if self.training:
      return self.training.input_scale
    return input_scale.of_training(self.config.data, {})

  def apply(
    self,
    image: ArrayLike,
    measurement: Measurement | CoilMeasurement | None = None,
    parameters: Any = None,
  ) -> Array:
    """The network as a function of arrays, which can be differentiated and compiled.

    `image` and `measurement` are what `kdmri_jax.undersample` returns:
    `net.apply(*kd.undersample(x, mask))`.

    Args:
      image: the zero-filled image, real or complex [H, W] or [S, H, W], or float
        [B, H, W, C], of about 0..1.
      measurement: k-space, complex [H, W] or [S, H, W], and mask, or the measurement of
        several coils; None for networks without data consistency.
      parameters: other weights; None for its own.

    Returns:
      The reconstruction, as `image` was given.

    Raises:
      ArgumentError: the network has images of another number of channels, or data
        consistency and no measurement.
    """
    batch, layout = to_batch(image, "image")
    channels = models.channels(self.model)
    if batch.shape[-1] != channels:
      kind = "real" if channels == 1 else "complex"
      expected = f"{kind} images: {channels} channel(s)"
      raise ArgumentError("image", described(image), expected)
    if measurement is not None and layout.rank == 2:
      measurement = measurement._replace(kspace=measurement.kspace[None])
    params = self.parameters if parameters is None else parameters
    outputs: Any = self.model.apply({"params": params}, batch, measurement)
    return layout.images(outputs.image)

  def reconstruct(
    self,
    kspace: ArrayLike,
    mask: ArrayLike,
    sensitivities: ArrayLike | None = None,
    *,
    batch_size: int = 4,
  ) -> np.ndarray:
    """Reconstructs measured k-space, as `kdmri reconstruct` does.

    A `UserWarning` tells where the scan lies outside of the training data: its size,
    its mask, its coils, the statistics of its images; and where the training itself was
    no more than a demonstration.

    The k-space may have any scale: if the network was trained on volumes divided by
    their maximum, the zero-filled images are brought to the brightness of those of the
    training, see `data.input_scale`, and the result to the scale of the k-space.

    Args:
      kspace: complex [H, W] or [S, H, W], orthonormal, zero frequency at [0, 0]; 0
        where not sampled.
      mask: [H, W], 1 = sampled, 0 = not, of any numeric type or bool; the same for
        all slices.
      sensitivities: of several coils, complex [C, H, W] or [S, C, H, W]; k-space then
        has the same axes. The network needs two channels.
      batch_size: slices per batch.

    Returns:
      The image, [H, W] or [S, H, W]: float32; complex64 for a network of two channels.

    Raises:
      ArgumentError: arrays of other shapes, a mask that does not fit the k-space or has
        other values; or k-space of a complex image, for a network of real images with
        data consistency.
    """
    kspace, mask = np.asarray(kspace), np.asarray(is_sampled(mask)).astype(np.uint8)
    axes = "H, W" if sensitivities is None else "C, H, W"
    rank = axes.count(",") + 1
    if kspace.ndim not in (rank, rank + 1) or not np.iscomplexobj(kspace):
      expected = f"complex [{axes}] or [S, {axes}]"
      raise ArgumentError("kspace", described(kspace), expected)
    if mask.shape != kspace.shape[-2:]:
      expected = f"{kspace.shape[-2:]}, the size of the k-space"
      raise ArgumentError("mask", f"shape {mask.shape}", expected)
    volume = kspace[None] if kspace.ndim == rank else kspace
    maps = None if sensitivities is None else np.asarray(sensitivities)
    if maps is not None:
      if maps.shape not in (volume.shape, volume.shape[1:]):
        expected = f"{volume.shape[1:]}, the shape of the k-space of a slice"
        raise ArgumentError("sensitivities", described(maps), expected)
      maps = np.broadcast_to(maps, volume.shape)
    key = self.config.stages[self.stage].model
    acquisition = Acquisition(mask[None])
    try:
      each = volume.reshape(-1, *mask.shape)
      coverage.check_mask(coverage.peak_of(each), mask, "kspace")
      model = models.build(self.config.models[key], acquisition.masks)
      channels = models.channels(model)
      if maps is not None and channels == 1:
        found = "k-space of several coils, for a network of one channel"
        raise ArgumentError("sensitivities", found, "a network of two channels")
      slices, scale = kspace_lib.slices_of_kspace(
        volume, mask, model, "kspace", self.input_scale, maps
      )
    except UserError as error:
      problem = error.where, error.found, error.expected, error.remedy
      raise ArgumentError(*problem) from error
    found = reconstruct.run_once(
      model,
      self.parameters,
      slices,
      acquisition,
      batch_size,
      name="k-space",
      compile_by=self._compiled,
    )
    if self.training:
      inputs = np.linalg.norm(found.zero_filled, axis=-1)
      coils = 1 if maps is None else maps.shape[1]
      told = account.outside(self.training, mask, inputs)
      for text in [*told, *account.other_coils(self.training, coils)]:
        warnings.warn(text, stacklevel=2)
    image = from_channels(scale * found.image)
    return image[0] if kspace.ndim == rank else image


def load(
  workdir: str | os.PathLike,
  stage: str,
  *,
  task: str = "",
  seed: int | None = None,
  precision: str = "",
) -> Network:
  """Reads the network of a finished stage.

  Args:
    workdir: the run's work directory.
    stage: name of the stage, such as "kd".
    task: the experiment's task whose mask is used; "" for the first.
    seed: seed of the training; None takes the run's first.
    precision: of its hidden layers, "float32", "tensorfloat32" or "bfloat16", which
      has 8 significant bits and is faster where the hardware multiplies it; "" for
      that of the training.

  Returns:
    The network with its best weights.

  Raises:
    ArgumentError: an unknown `precision`, or a network that has one alone.
    UserError: no such run, or no such stage, seed or task in it.
  """
  folder = pathlib.Path(workdir)
  size = load_lib.read_shapes(folder)[0]
  options: Any = {"task": task, "seed": seed, "precision": precision}
  trained = load_lib.load(folder, stage, size, **options)
  parameters = jax.tree.map(np.asarray, trained.params)
  seed = trained.config.seed if seed is None else seed
  name = task or next(iter(load_lib.read_config(folder).all_tasks))
  training = account.training(folder, trained.config, stage, seed, name)
  card = load_lib.card_of(folder)
  mask = np.asarray(trained.acquisition.masks[0])
  return Network(trained.config, stage, trained.model, parameters, training, card, mask)


def load_pretrained(name: str | os.PathLike, *, precision: str = "") -> Network:
  """A trained network that the package holds; docs/pretrained.md shows all.

  Args:
    name: such as "cardiac-4x-distilled"; or the path of the card NAME.json of another
      one, which `kdmri pack` wrote.
    precision: as for `load`.

  Returns:
    The network; its `card` tells data, licence, quality and limits.

  Raises:
    ArgumentError: there is no network of that name, or not in that precision.
    UserError: its files are damaged.
  """
  place = pathlib.Path(f"{PRETRAINED}{os.fspath(name)}")
  return load(place, store.read(name).card.stage, precision=precision)
