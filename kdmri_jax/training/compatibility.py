"""Checks the networks and the augmentation of a config against the data."""

from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import AugmentConfig, ExperimentConfig
from kdmri_jax.data.dataset import Dataset
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.models import contract
from kdmri_jax.types import Slices


def network(config: ExperimentConfig, name: str, dataset: Dataset) -> nn.Module:
  """The network of `config.models[name]`, checked against the data.

  Raises:
    UserError: settings that do not fit each other or the data, or a network that fails;
      names the setting.
  """
  channels = dataset.train.parts[0].target.shape[-1]
  where = f"config.models.{name}"
  with arguments_of(f"{where}."):
    built = [
      models.build(config.models[name], acquisition.masks)
      for acquisition in dataset.acquisitions.values()
    ]
  model = built[0]
  if any(other != model for other in built):
    raise UserError(
      f"{where}.consistency",
      '"auto", with masks of different kinds for the slice shapes',
      "a form that fits all of them",
      "Set it to 'rfft' for one channel, to 'fft' for two.",
    )
  if models.channels(model) == 1 and channels == 2:
    raise UserError(
      dataset.record["complex_file"],
      "complex images",
      f"real ones, for {where}.channels=1",
      "Store their magnitude, exclude the file with --config.data.include, or set "
      "channels=2 for every model.",
    )
  if models.channels(model) != channels:
    raise UserError(
      f"{where}.channels",
      f"{models.channels(model)}, with real images",
      "1",
      f"Set --{where}.channels=1 for every model, or choose complex data.",
    )
  with arguments_of(f"{where}."):
    for shape in dataset.acquisitions:
      contract.check(model, shape, channels)
    if any(config.augment.patch):
      contract.check(model, config.augment.patch, channels, measured=False)
  return model


def check_augment(config: AugmentConfig, slices: Slices) -> None:
  """Refuses an augmentation that the slices do not allow.

  Raises:
    UserError: names the setting.
  """
  size, patch = slices.target.shape[1:3], config.patch
  if config.varies and slices.kspace is not None:
    raise UserError(
      "config.augment",
      "augmentation of data with their own k-space",
      "images, from which k-space is simulated",
      "Leave the settings of config.augment out.",
    )
  if any(patch) and not all(8 <= p <= n for p, n in zip(patch, size, strict=True)):
    found = f"{patch}, of slices of {size}"
    expected = f"8 to {size[0]} rows and 8 to {size[1]} columns, or (0, 0) for none"
    raise UserError("config.augment.patch", found, expected)
  turned = patch if any(patch) else size
  if config.rotations and turned[0] != turned[1]:
    raise UserError(
      "config.augment.rotations",
      f"quarter turns of {turned[0]}x{turned[1]} pixels",
      "squares",
      "Set config.augment.patch or config.data.crop to a square.",
    )
