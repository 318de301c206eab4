"""From a data source to the slices of the training, validation and test set."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from kdmri_jax.config import DataConfig
from kdmri_jax.data import (
  coils,
  digests,
  padding,
  pairs,
  phase_encoding,
  repeats,
  slice_set,
)
from kdmri_jax.data import split as splitting
from kdmri_jax.data.folders import SPLITS
from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.data.sources import find_source
from kdmri_jax.data.stored import is_stored
from kdmri_jax.data.volume import Volume, prepare
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.physics.masks import coverage
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """The data of an experiment.

  Attributes:
    acquisitions: how slices of each shape (H, W) are measured, as NumPy arrays.
    train, validation: as divided by subject.
    test: held-out subjects; the validation set itself where there are none.
    record: source, split, shapes, scaling, crop, every volume's record, `unit` (what
      its subjects are), `coils` (their number, where the data has k-space of several),
      and `notes`: sentences on the data for the report. Where the test subjects have a
      source of their own, `test_source` has what it has in common.
  """

  acquisitions: dict[Shape, Acquisition]
  train: SliceSet
  validation: SliceSet
  test: SliceSet
  record: dict[str, Any]

  def fingerprint(self) -> dict[str, Any]:
    """Digests of masks and images, because values may change under the same names.

    Returns:
      A digest of the masks and of each split, and the "training_slices": subject ->
      the digests of its targets.
    """
    found: dict[str, Any] = {}
    tested_apart = "test_source" in self.record
    parts = (*self.train.parts, *self.validation.parts)
    if tested_apart:
      found["test_mask_digest"] = self._mask_digest(self.test.parts)
    else:
      parts += self.test.parts
    found["mask_digest"] = self._mask_digest(parts)
    for name in SPLITS:
      volumes = getattr(self, name).volumes
      found[f"{name}_digest"] = digests.of_volumes(v.digests for v in volumes)
    slices = collections.defaultdict(list)
    for volume in self.train.volumes:
      slices[volume.subject] += volume.digests["target"]
    return found | {"training_slices": dict(slices)}

  def _mask_digest(self, parts: Iterable[Slices]) -> str:
    shapes = set(map(shape_of, parts))
    masks = (a.masks for shape, a in self.acquisitions.items() if shape in shapes)
    return digests.digest(map(np.ascontiguousarray, masks))


def read(config: DataConfig) -> Iterator[Volume]:
  """Reads, checks, crops and scales the volumes of a source, one at a time.

  Raises:
    ArgumentError: a setting is unusable: its name is the argument's.
    UserError: a volume is unusable.
  """
  source, found = find_source(config.source, training=True), False
  of_files = config
  if config.repeat_pattern:
    of_files = dataclasses.replace(config, repeats=0, repeat_pattern="")
  volumes = source.read_volumes(of_files)
  if config.repeat_pattern:
    volumes = repeats.together(volumes, config.repeat_pattern)
  if config.inputs.given:
    if config.repeats:
      raise ArgumentError("repeats", f"{config.repeats}, beside inputs", "either")
    volumes = pairs.join(volumes, _inputs(config.of_inputs), config)
  elif count := config.repeats:
    volumes = (each for one in volumes for each in repeats.of_repeats(one, count))
  for volume in volumes:
    found = True
    yield volume if is_stored(volume.target) else prepare(volume, config)
  if not found:
    everything = source.read_volumes(dataclasses.replace(of_files, include=()))
    names = ", ".join(volume.name for volume in itertools.islice(everything, 3))
    found = f"{config.include}, which matches no volume"
    expected = f"globs on the volume names, such as {names or 'none'}, or () for all"
    raise ArgumentError("include", found, expected)


def _inputs(config: DataConfig) -> Iterator[Volume]:
  """The given inputs as their source stores them."""
  with arguments_of("inputs."):
    yield from find_source(config.source, training=True).read_volumes(config)


def load(
  config: DataConfig,
  acquisition_for: Callable[[Shape], Acquisition],
  phase: float = 0.0,
) -> Dataset:
  """Reads the data of an experiment and splits it by subject.

  Args:
    config: the data settings.
    acquisition_for: creates masks, noise and simulated coils for slices of a shape
      (H, W).
    phase: of images that have none, see `slice_set.make`.

  Returns:
    The dataset; two channels (real and imaginary part) if any volume is complex or
    several coils measure.

  Raises:
    ArgumentError: a setting is unusable: its name is the argument's.
    UserError: unusable data, more than `slice_set.MOST_LAYOUTS` slice shapes and
      numbers of coils, more data than `config.memory_mb` allows, a subject or an image
      in two splits, stored k-space that contradicts the mask or does not allow tasks
      and noise, or complex images in the test source alone.
  """
  volumes = tuple(_within_memory(read(config), config))
  tested: tuple[Volume, ...] = ()
  if config.test_source.source:
    with arguments_of("test_source."):
      tested = tuple(_within_memory(read(config.of_tested), config, volumes))
  split = splitting.divide(volumes, config, tested)
  with arguments_of("test_source."):
    warnings = splitting.shared_names(split, config) if tested else []
  splitting.refuse_shared_slices(split)
  if not config.use_test:
    split, tested = split.without_test(), ()
  warnings += splitting.repeated_slices(split)
  here = dict(split.parts)
  there = list(here.pop("test")) if tested else []
  volumes = list(itertools.chain(*here.values()))
  acquisitions = {
    shape: acquisition_for(shape) for shape in slice_set.shapes_of([*volumes, *there])
  }
  warnings += coils.less_calibration([*volumes, *there], acquisitions)
  warnings += phase_encoding.along_the_readout([*volumes, *there], acquisitions)
  simulated = any(each.sensitivities is not None for each in acquisitions.values())
  channels = 2 if simulated or any(map(_is_complex, volumes)) else 1
  measured = _are_measured(volumes, acquisitions)
  if simulated and volumes[0].sensitivities is not None:
    expected = "simulated coils, or those of the data"
    remedy = "Leave config.coils at its default."
    raise UserError(volumes[0].file, "measured and simulated coils", expected, remedy)
  sets = {
    name: slice_set.make(part, acquisitions, channels, measured, phase)
    for name, part in here.items()
  }
  record = _of_source(config, volumes, measured)
  if tested:
    _check_channels(there, channels)
    measured = _are_measured(there, acquisitions)
    sets["test"] = slice_set.make(there, acquisitions, channels, measured, phase)
    own = _of_source(config.of_tested, there, measured)
    new = [note for note in own.pop("notes") if note not in record["notes"]]
    record["notes"] += [f"Test source: {note}" for note in new]
    names = {"trained_on": config.label, "tested_on": config.of_tested.label}
    record["test_source"] = own | names
  common = _record(split, sets, config)
  record |= common | {"notes": [*record["notes"], *common["notes"], *warnings]}
  for size, count in record["shapes"].items():
    logging.info("data: slices of %s: %s", size, count)
  for note in record["notes"]:
    level = logging.WARNING if note in warnings else logging.INFO
    logging.log(level, "data: %s", note)
  return Dataset(acquisitions, **({"test": sets["validation"]} | sets), record=record)


def load_tested(
  config: DataConfig,
  dataset: Dataset,
  acquisition_for: Callable[[Shape], Acquisition],
  phase: float,
) -> tuple[SliceSet, dict[Shape, Acquisition], dict[str, Any]]:
  """All volumes of a test source, beside a dataset that does not hold them.

  Args:
    config: the data settings with the test source.
    dataset: the data that train the networks.
    acquisition_for, phase: see `load`.

  Returns:
    The slices, with k-space as in `load`, how each shape is measured, and the record of
    the source, with the "unit" of its volumes and its "notes".

  Raises:
    ArgumentError: a setting is unusable: its name is the argument's, without a group.
    UserError: unusable data, see `load`.
  """
  volumes = tuple(_within_memory(read(config.of_tested), config))
  sets = {name: getattr(dataset, name).volumes for name in ("train", "validation")}
  split = splitting.Split({**sets, "test": volumes}, (), "")
  warnings = splitting.shared_names(split, config)
  splitting.refuse_shared_slices(split)
  for warning in warnings:
    logging.warning("data: %s", warning)
  channels = dataset.train.parts[0].target.shape[-1]
  _check_channels(volumes, channels)
  acquisitions = {
    shape: acquisition_for(shape) for shape in slice_set.shapes_of(volumes)
  }
  measured = _are_measured(volumes, acquisitions)
  slices = slice_set.make(volumes, acquisitions, channels, measured, phase)
  record = _of_source(config.of_tested, volumes, measured)
  record["notes"] += warnings
  return slices, acquisitions, record


def _is_complex(volume: Volume) -> bool:
  return volume.target.dtype.kind == "c"


def _check_channels(tested: Iterable[Volume], channels: int) -> None:
  """Refuses complex test images where real ones train the networks."""
  for volume in tested:
    if channels == 1 and _is_complex(volume):
      found = "complex images in the test source"
      expected = "real ones, as the training images are"
      raise UserError(volume.file, found, expected, "Store their magnitude.")


def _are_measured(
  volumes: Sequence[Volume], acquisitions: Mapping[Shape, Acquisition]
) -> bool:
  """Whether all volumes of a source have k-space, which must be that of the masks."""
  measured = all(volume.kspace is not None for volume in volumes)
  coils.refuse_mixed(volumes)
  pairs.refuse_mixed(volumes)
  for volume in volumes if measured else ():
    _check_acquisition(volume, acquisitions[volume.target.shape[1:]])
  return measured


def _check_acquisition(volume: Volume, acquisition: Acquisition) -> None:
  """Refuses an acquisition that is not that of the volume's k-space."""
  masks, *simulated = acquisition
  if volume.sensitivities is not None:
    return
  if len(masks) > 1 or any(each is not None for each in simulated):
    found = "measured k-space, and settings of several tasks, of noise or of coils"
    remedy = "Leave config.tasks, config.noise and config.coils at their defaults."
    expected = "images, from which k-space is simulated"
    raise UserError(volume.file, found, expected, remedy)
  peak = coverage.peak_of(volume.kspace) if volume.peak is None else volume.peak
  coverage.check_mask(peak, acquisition.masks[0], volume.file)


def _within_memory(
  volumes: Iterable[Volume], config: DataConfig, others: Iterable[Volume] = ()
) -> Iterator[Volume]:
  """The volumes with their digests, as long as there is memory for all."""
  taken = sum(map(_bytes, others))
  for volume in volumes:
    taken += _bytes(volume)
    if taken > config.memory_mb * 2**20:
      found = f"images that together need more memory than memory_mb={config.memory_mb}"
      remedy = "Prepare volumes, which can stay in their files, or raise memory_mb."
      raise UserError(volume.file, found, "data that fits", remedy)
    yield volume.in_memory().with_digests()


def _bytes(volume: Volume) -> int:
  """The memory that a volume takes."""
  if is_stored(volume.target):
    return 0
  return sum(array.nbytes for array in volume.arrays.values())


def _record(split, sets, config):
  """What is recorded of all volumes, whatever their source."""
  counts = {name: part.by_size() for name, part in sets.items()}
  sizes = dict.fromkeys(size for own in counts.values() for size in own)
  notes = []
  if len(sizes) > 1:
    notes.append(
      f"Slices have {len(sizes)} shapes ({', '.join(sizes)}), each with its own "
      "mask; the report describes that of the slice that it shows."
    )
  return {
    "split_rule": split.rule,
    "subjects": {
      name: sorted({v.subject for v in part.volumes}) for name, part in sets.items()
    },
    "unused_subjects": list(split.unused),
    "slices": {name: sum(own.values()) for name, own in counts.items()},
    "shapes": {
      size: {name: own[size] for name, own in counts.items() if size in own}
      for size in sizes
    },
    "channels": sets["train"].parts[0].target.shape[3],
    "scaling": config.scaling,
    "held_out_test": "test" in split.parts,
    "notes": notes,
    "volumes": [
      {"name": v.name, "subject": v.subject, "split": name}
      | {key: value for key, value in v.record.items() if key != "unit"}
      for name, part in sets.items()
      for v in part.volumes
    ],
  }


def _of_source(config, volumes, measured):
  """What is recorded of a source."""
  given = volumes[0].input is not None
  unused = not measured and any(volume.kspace is not None for volume in volumes)
  notes = list(dict.fromkeys(v.record["note"] for v in volumes if v.record.get("note")))
  notes += padding.notes(volume.record for volume in volumes)
  if unused:
    notes.append("Some files contain k-space; it is not used: others have none.")
  if given:
    notes.append(pairs.NOTE)
  return coils.recorded(volumes) | {
    "source": config.source,
    "root": config.root,
    "unit": splitting.common_unit(v.record["unit"] for v in volumes),
    "complex_file": next((v.file for v in volumes if _is_complex(v)), None),
    "crop": list(config.crop),
    "slices_per_volume": config.slices_per_volume,
    "given_inputs": given,
    "stored_kspace_used": measured,
    "simulated_kspace": unused or any(v.record["simulated_kspace"] for v in volumes),
    "notes": notes,
  }
