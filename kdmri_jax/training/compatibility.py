"""Checks the networks and the augmentation of a config against the data."""

from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import AugmentConfig, ExperimentConfig
from kdmri_jax.data.dataset import Dataset
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.models import contract
from kdmri_jax.types import Slices


def network(config: ExperimentConfig, name: str, dataset: Dataset) -> nn.Module:
  """The network of `config.models[name]`, checked against the data.

  Raises:
    ArgumentError: settings that do not fit each other or the data, or a network that
      fails; names the setting.
    UserError: complex images for a network of real ones; names the file.
  """
  channels = dataset.train.parts[0].target.shape[-1]
  built = [
    models.build(config.models[name], acquisition.masks)
    for acquisition in dataset.acquisitions.values()
  ]
  model = built[0]
  if any(other != model for other in built):
    found = "'auto', with masks of different kinds for the slice shapes"
    expected = "'rfft' for one channel, 'fft' for two"
    raise ArgumentError("consistency", found, expected)
  if models.channels(model) == 1 and channels == 2:
    raise UserError(
      dataset.record["complex_file"],
      "complex images",
      f"real ones, for config.models.{name}.channels=1",
      "Store their magnitude, exclude the file with --config.data.include, or set "
      "channels=2 for every model.",
    )
  if models.channels(model) != channels:
    found = f"{models.channels(model)}, with real images"
    remedy = "Set it for every model, or choose complex data."
    raise ArgumentError("channels", found, "1", remedy)
  for shape in dataset.acquisitions:
    contract.check(model, shape, channels)
  if any(config.augment.patch):
    contract.check(model, config.augment.patch, channels, measured=False)
  return model


def check_augment(config: AugmentConfig, slices: Slices) -> None:
  """Refuses an augmentation that the slices do not allow.

  Raises:
    ArgumentError: names the setting.
  """
  size, patch = slices.target.shape[1:3], config.patch
  if config.varies and slices.kspace is not None:
    found = "augmentation of data with their own k-space"
    expected = "no augmentation, or images, from which k-space is simulated"
    raise ArgumentError("augment", found, expected)
  if any(patch) and not all(8 <= p <= n for p, n in zip(patch, size, strict=True)):
    found = f"{patch}, of slices of {size}"
    expected = f"8 to {size[0]} rows and 8 to {size[1]} columns, or (0, 0) for none"
    raise ArgumentError("augment.patch", found, expected)
  turned = patch if any(patch) else size
  if config.rotations and turned[0] != turned[1]:
    found = f"quarter turns of {turned[0]}x{turned[1]} pixels"
    expected = "squares, by augment.patch or data.crop"
    raise ArgumentError("augment.rotations", found, expected)
