"""Signal-to-noise ratio of every network's images in the same regions."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.volume_files import PREDICTION, read_volume
from kdmri_jax.metrics import roi_snr
from kdmri_jax.metrics.roi_snr import Roi
from kdmri_jax.report import roi_file
from kdmri_jax.statistics import Effect, mixed_effects

AUTO = "auto"


class Measured(NamedTuple):
  """SNR in regions.

  Attributes:
    regions: volume -> its regions.
    values: model -> SNR of each region, mean over seeds, in the order of `regions`.
    effects: differences of the networks from the reference; () where `note` says why.
    note: why no difference was tested, as a sentence, or "".
    reference: the network to compare the others with.
    pictures: for some of the slices with regions, (title, target, regions).
  """

  regions: dict[str, list[Roi]]
  values: dict[str, np.ndarray]
  effects: tuple[Effect, ...]
  note: str
  reference: str
  pictures: tuple[tuple[str, np.ndarray, list[Roi]], ...]


_SHOWN = 4


def check(choice: str, evaluated: SliceSet) -> None:
  """Checks the inputs of `measure` before any training.

  Raises:
    UserError: the file of regions cannot be used, or there are fewer than two regions.
  """
  if choice:
    volumes = {volume.name: volume for volume in evaluated.volumes}
    regions = _regions(choice, evaluated, lambda name: np.abs(volumes[name].target[:]))
    found = sum(map(len, regions.values()))
    if found < 2:
      expected = "two regions of homogeneous tissue or more, to compare networks in"
      remedy = 'Name them in a CSV file, or measure none: --config.evaluation.rois="".'
      where = f"config.evaluation.rois={choice}"
      raise UserError(where, f"{found} in the targets", expected, remedy)


def measure(
  choice: str,
  evaluated: SliceSet,
  target_dir: pathlib.Path,
  folders: Mapping[str, Mapping[int | None, pathlib.Path]],
  reference: str,
) -> Measured:
  """Measures the SNR of all networks in the same regions.

  Args:
    choice: "auto" finds regions of homogeneous tissue in the targets; else a CSV file
      that names them, see `roi_file.read`.
    evaluated: the volumes.
    target_dir: folder with the target of each, NAME.h5.
    folders: model -> seed -> folder with its results, NAME.h5.
    reference: the model to compare the others with; "" for none.

  Raises:
    UserError: the file cannot be used, or no region is found.
  """

  def target(name):
    return read_volume(target_dir / f"{name}.h5").images

  regions = _regions(choice, evaluated, target)
  if not regions:
    expected = "regions of homogeneous tissue"
    raise UserError("config.evaluation.rois", "none in the targets", expected)
  values = {model: _values(paths, regions) for model, paths in folders.items()}
  owners = {volume.name: volume.subject for volume in evaluated.volumes}
  effects, note = _effects(values, regions, owners, reference)
  return Measured(regions, values, effects, note, reference, _pictures(target, regions))


def _effects(values, regions, owners, reference) -> tuple[tuple[Effect, ...], str]:
  """The differences from the reference, or why there are none."""
  if reference not in values:
    missing = f"the results of {reference}" if reference else "a student or control"
    return (), f"No difference is tested: {missing} would be the reference."
  places = [(name, k) for name, found in regions.items() for k in range(len(found))]
  try:
    effects = mixed_effects(
      np.concatenate(list(values.values())),
      np.repeat(list(values), len(places)),
      [owners[name] for name, _ in places] * len(values),
      [f"{name}/{k}" for name, k in places] * len(values),
      reference=reference,
    )
  except ArgumentError as error:
    return (), f"No difference can be tested: {error}"
  return effects, ""


def _regions(choice, evaluated, target) -> dict[str, list[Roi]]:
  """Volume -> its regions, if it has any; `target`: name -> its image."""
  shapes = {volume.name: volume.target.shape for volume in evaluated.volumes}
  if choice == AUTO:
    regions = {name: roi_snr.find(target(name)) for name in shapes}
  else:
    regions = roi_file.read(pathlib.Path(choice), shapes)
  return {name: found for name, found in regions.items() if found}


def _values(folders, regions) -> np.ndarray:
  """[regions], the mean over the folders of the seeds."""
  found = []
  for folder in folders.values():
    ratios = []
    for name, each in regions.items():
      volume = read_volume(folder / f"{name}.h5", PREDICTION).images
      ratios += [roi_snr.snr(volume, roi) for roi in each]
    found.append(ratios)
  return np.mean(found, axis=0)


def _pictures(target, regions):
  places = [
    (name, index)
    for name, each in regions.items()
    for index in sorted({roi.slice for roi in each})
  ]
  return tuple(
    (
      f"{name}, slice {index}",
      target(name)[index],
      [roi for roi in regions[name] if roi.slice == index],
    )
    for name, index in places[:: max(len(places) // _SHOWN, 1)][:_SHOWN]
  )
