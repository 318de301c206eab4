"""The record of a data source: how its files are read, recognised and written."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import h5py

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import wanted
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import h5
from kdmri_jax.io.nifti import SLICES_LAST

SUBJECT, FILE = "subject", "file"
CHOICES = ("contrast", "combine", "variable", "axes", "repeats")

Scan = Volume | Measured


@dataclasses.dataclass(frozen=True)
class Source:
  """How the files of a data set or format are read, recognised and written.

  A source with `volumes` alone can train networks, and its files can be reconstructed.

  Attributes:
    volumes: reads the volumes of the folder `config.root`, one at a time, fully sampled
      and as stored. A volume needs its name, subject and target; missing entries of its
      `record` are added: "source", "unit", "simulated_kspace". None for sources whose
      files can only be reconstructed.
    takes: the settings among `CHOICES` that it supports; others are refused. With
      "repeats" the target of a volume holds all repeats, [R, S, H, W], where
      `config.repeats` is not 0.
    unit: word for its subjects: `SUBJECT`; `FILE` where only `config.subject_pattern`
      tells the subject of a file; or others, such as "slab of one head". A volume's
      record may have another.
    files: description of its files or folders for messages: "BART (.cfl)"; "" omits it
      from the list.
    recognise: whether an existing file or folder belongs to this source, by name and
      content, see `by_ending`; None where the user must name the source.
    read: reads one file for reconstruction: fully sampled images as stored, or
      undersampled k-space. It uses the settings `contrast`, `combine`, `variable`,
      `axes`, `acceleration_tag` and `include` (the requested volume). None selects the
      file's volume from `volumes` of its folder, by the `file` of its record or by its
      name.
    read_folder: reads one folder in the same way; None takes the only volume of
      `volumes`.
    axes: order of the axes (slices, rows, columns) in its NIfTI files, and in results
      for them.
  """

  volumes: Callable[[DataConfig], Iterable[Volume]] | None
  takes: tuple[str, ...] = ()
  unit: str = SUBJECT
  files: str = ""
  recognise: Callable[[pathlib.Path], bool] | None = None
  read: Callable[[pathlib.Path, DataConfig], Scan] | None = None
  read_folder: Callable[[pathlib.Path, DataConfig], Scan] | None = None
  axes: tuple[int, int, int] = SLICES_LAST

  def read_volumes(self, config: DataConfig) -> Iterator[Volume]:
    """The volumes that `config` selects, with complete records.

    Raises:
      ArgumentError: one of `CHOICES` is set and not supported.
      UserError: as `volumes`; or it yields objects that are not volumes.
    """
    self.check_choices(config.source, {key: getattr(config, key) for key in CHOICES})
    if config.sensitivities != "espirit" and config.combine != "none":
      found = f"{config.sensitivities!r}, with combine={config.combine!r}"
      expected = "'espirit', which has no effect then"
      raise ArgumentError("sensitivities", found, expected, "Or set combine='none'.")
    for volume in self.volumes(config):
      if not isinstance(volume, Volume):
        found = f"a source that yields a {type(volume).__name__}"
        raise ArgumentError("source", found, "volumes, kdmri_jax.data.Volume")
      if wanted(config, volume.name):
        known = {"source": config.source, "unit": self.unit}
        known["simulated_kspace"] = volume.kspace is None
        record = known | volume.record
        if config.subject_pattern and record["unit"] == FILE:
          record["unit"] = SUBJECT
        yield dataclasses.replace(volume, record=record)

  def check_choices(
    self, name: str, values: Mapping[str, Any], remedy: str = ""
  ) -> None:
    """Refuses settings out of `CHOICES` without effect; `name` is the source's."""
    for key, value in values.items():
      if value and key not in self.takes:
        expected = f"{type(value)()!r}, because {name} does not support it"
        raise ArgumentError(key, repr(value), expected, remedy)


def by_ending(*endings: str) -> Callable[[pathlib.Path], bool]:
  """For `Source.recognise`: files with these endings, such as ".nii"."""
  return lambda path: path.name.lower().endswith(endings) and path.is_file()


def holds(what: Callable[[h5py.File], bool]) -> Callable[[pathlib.Path], bool]:
  """For `Source.recognise`: h5 files of which `what` is true."""

  def recognise(path):
    if not by_ending(*h5.ENDINGS)(path):
      return False
    with h5.opened(path) as file:
      return what(file)

  return recognise


def no_single_file(path: pathlib.Path, config: DataConfig) -> Scan:
  """For `Source.read` of a source that reads folders alone."""
  found = f"one file of {config.source}"
  expected = "the folder that this source reads"
  raise UserError(path, found, expected, "Name the folder and one of its volumes.")


def no_files(path: pathlib.Path, config: DataConfig) -> Scan:
  """For `Source.read` and `read_folder` of a source without files."""
  expected = f"a source that reads files such as {path.name}"
  raise ArgumentError("source", repr(config.source), expected)


def only(path: pathlib.Path, volumes: Iterable[Volume], config: DataConfig) -> Scan:
  """The only volume of a file or folder, for reconstruction.

  Args:
    path: the file or folder, for messages.
    volumes: its volumes.
    config: its `include` names the requested volume, or is ().

  Raises:
    UserError: there is none, or another one.
  """
  chosen = (volume for volume in volumes if wanted(config, volume.name))
  volume = next(chosen, None)
  if volume is None:
    asked = " or ".join(map(repr, config.include))
    found = f"no volume {asked}" if asked else f"nothing that {config.source} reads"
    remedy = "" if asked else "Name another source."
    raise UserError(path, found, "a volume of this source", remedy)
  others = [other.name for other, _ in zip(chosen, range(4), strict=False)]
  if others:
    more = " and perhaps more" if len(others) == 4 else ""
    found = f"several volumes ({', '.join([volume.name, *others])}{more})"
    remedy = "Name one of them; the number of a DICOM series as `contrast` also works."
    raise UserError(path, found, "one", remedy)
  if volume.kspace is not None and volume.sensitivities is None:
    return Measured(volume.kspace, None, volume.record, volume.header)
  return volume


def note_of(config: DataConfig) -> str:
  """The note of a report on files without subjects; "" where a pattern names them."""
  if config.subject_pattern:
    return ""
  return "Each file counts as a subject, because data.subject_pattern is not set."
