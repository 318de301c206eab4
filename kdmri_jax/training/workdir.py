"""A run's folder: its config, its lock, and the folders of its stages."""

import contextlib
import dataclasses
import fcntl
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdmri_jax import __version__, scratch
from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.errors import UserError
from kdmri_jax.physics.masks import files
from kdmri_jax.saving import make_folder, saving
from kdmri_jax.training import checkpoint, records
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.types import Acquisition, Shape

# Location and names of the data, and sentences; digests identify the data.
_FREE_RECORDS = re.compile(
  r"(.*\.)?(root|file|complex_file|unit|split_rule|notes|trained_on|tested_on)"
  r"|inputs(\..*)?"
)

FORMAT = 2  # of work directories; changes when a version cannot read earlier ones
_FORMAT_FILE = "workdir.json"
_ALL = "Restore it from a backup. Or remove it and config.json: the command of its run "
_ALL += "writes both anew."
_NAME = "Name the --workdir that `kdmri run` wrote."


@dataclasses.dataclass(frozen=True)
class WorkDir:
  """The folder of a run.

  Attributes:
    path: the folder.
    seed: the seed of the weights.
    task: the task of the results; "" where there is one.
  """

  path: pathlib.Path
  seed: int
  task: str = ""

  def stage(self, name: str) -> pathlib.Path:
    """The folder of a stage, or of another row of the comparison."""
    return self.path / f"seed_{self.seed}" / name

  def results(self, name: str) -> pathlib.Path:
    """Folder of a stage's reconstructions."""
    return self.stage(name) / "results" / self.task

  @property
  def report(self) -> pathlib.Path:
    """Folder of the report."""
    return self.path / "report" / self.task

  def seeds(self, name: str) -> list[int]:
    """The seeds for which a stage has begun."""
    folders = self.path.glob(f"seed_*/{name}/checkpoints")
    seeds = (folder.parts[-3].removeprefix("seed_") for folder in folders)
    return sorted(int(seed) for seed in seeds if seed.isdecimal())

  @contextlib.contextmanager
  def locked(self, seeds: Sequence[int] | None = None) -> Iterator[None]:
    """Locks the folder for this process; the system releases it even after a crash.

    What killed processes left in it is removed.

    Args:
      seeds: locks the folders of these seeds alone: other processes may lock those of
        others at the same time, but none the whole folder.

    Raises:
      UserError: another process works here, or the folder cannot be written.
    """
    own = [self.path / f"seed_{seed}" for seed in seeds or ()]
    with contextlib.ExitStack() as stack:
      stack.enter_context(_locked(self.path, shared=bool(own)))
      for folder in own:
        stack.enter_context(_locked(folder))
      for folder in own or [self.path]:
        scratch.sweep_below(folder)
      for folder in own or self.path.glob("seed_*"):
        for checkpoints in folder.glob("*/checkpoints"):
          checkpoint.sweep(checkpoints)
      yield

  def digest(self, name: str) -> str:
    """Digest of the weights of "STAGE" or "STAGE/branches"; "" before the end."""
    stage, _, item = name.partition("/")
    return StageFolder(self.stage(stage)).digests().get(item or "best", "")

  def trained(self, name: str) -> StageFolder:
    """The folder of a stage that this run has trained.

    Raises:
      UserError: its record is not that of this run's stage.
    """
    config, data = read_config(self.path), read_data(self.path)
    folder = StageFolder(self.stage(name))
    folder.check(records.describe(config, data, self.seed, name, self.digest))
    return folder

  def claim(
    self, config: ExperimentConfig, dataset: dict[str, Any], *, write: bool
  ) -> None:
    """Refuses the folder of another run; records the config and the data.

    Data that have moved are the same data, and are recorded at their new place.

    Args:
      config: the experiment.
      dataset: the record of its data, with digests of mask and images.
      write: False to check only.

    Raises:
      UserError: the folder has another config or other data, or was written by a
        version of this package that this one cannot read.
    """
    check_format(self.path)
    settings = config_lib.to_dict(config)
    claims = (
      (self.path / "config.json", settings, config_lib.is_free),
      (self.path / "dataset.json", dataset, _FREE_RECORDS.fullmatch),
    )
    for path, value, is_free in claims:
      before = records.read(path, records.ANEW) if path.exists() else value
      if value is settings:
        before = config_lib.of_any_version(before)
      if different := records.in_words(before, value, is_free):
        found = f"another {path.stem}: {different}"
        remedy = "Choose another --workdir, or remove this one to start again."
        raise UserError(path, found, f"the {path.stem} of this run", remedy)
    if write:
      # First, as another process may read the others at any time (`locked`).
      version = {"format": FORMAT, "kdmri_jax": __version__}
      records.write(self.path / _FORMAT_FILE, version)
      for path, value, _ in claims:
        records.write(path, value)

  def save_masks(
    self, acquisitions: Mapping[Shape, Acquisition], tasks: Sequence[str]
  ) -> None:
    """Writes the masks of the run, named by `masks.files.names`, such as mask.npy.

    Args:
      acquisitions: how slices of each shape are measured.
      tasks: names of the tasks.

    Raises:
      UserError: the folder cannot be written.
    """
    names = files.names(tasks, list(acquisitions))
    for row, acquisition in zip(names, acquisitions.values(), strict=True):
      for name, mask in zip(row, acquisition.masks, strict=True):
        files.replace(self.path / f"{name}.npy", mask)


@contextlib.contextmanager
def _locked(folder: pathlib.Path, *, shared: bool = False) -> Iterator[None]:
  """Locks a folder, or shares it with others that do; it is created where missing."""
  make_folder(folder)
  path = folder / ".lock"
  with contextlib.ExitStack() as stack:
    with saving(path):
      lock = stack.enter_context(open(path, "a+", opener=scratch.without_links))
      kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
      try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
      except BlockingIOError:
        found, expected = "another process that uses this folder", "no other process"
        remedy = "Wait for it, or choose another --workdir."
        raise UserError(folder, found, expected, remedy) from None
    yield


def refuse_other(first: dict[str, Any], own: dict[str, Any]) -> None:
  """Refuses a process that would train something else than the first one.

  Args:
    first: the "config" and the "data" of the first process, as in `WorkDir.claim`.
    own: those of this process.

  Raises:
    UserError: lists the differences.
  """

  def is_free(key: str) -> bool:
    return bool(_FREE_RECORDS.fullmatch(key.removeprefix("data.")))

  if different := records.in_words(first, own, is_free):
    expected = "the settings and the data of the first process"
    remedy = "Start all processes with the same flags, where they see the same data."
    raise UserError("--distributed", different, expected, remedy)


def check_format(path: pathlib.Path) -> None:
  """Refuses a work directory that another version of this package wrote.

  Raises:
    UserError: names the version that reads it.
  """
  if not (path / "config.json").exists():
    return
  there = {"format": 1, "kdmri_jax": "0.1"}
  if (path / _FORMAT_FILE).exists():
    there = records.read(path / _FORMAT_FILE, _ALL)
  if there.get("format") != FORMAT:
    version = f"kdmri_jax {there.get('kdmri_jax')}"
    found = f"a work directory of format {there.get('format')}, which {version} writes"
    expected = f"format {FORMAT}, that of kdmri_jax {__version__}"
    remedy = f"Use {version} to read it, or train again in another --workdir."
    raise UserError(path, found, expected, remedy)


def read_config(path: pathlib.Path) -> ExperimentConfig:
  """The config that a run wrote into its work directory.

  Raises:
    UserError: there is none, or it cannot be read.
  """
  check_format(path)
  settings = _read(path / "config.json", {"stages": dict})
  return config_lib.parse(config_lib.of_any_version(settings))


def read_data(path: pathlib.Path) -> dict[str, Any]:
  """The record of the data that a run wrote into its work directory.

  Raises:
    UserError: there is none, or it cannot be read.
  """
  record = _read(path / "dataset.json", {"shapes": dict})
  for size in record["shapes"]:
    if not re.fullmatch(r"[1-9][0-9]{0,8}x[1-9][0-9]{0,8}", size):
      expected = "sizes such as 256x256"
      raise UserError(path / "dataset.json", f"the shape {size!r}", expected, _NAME)
  return record


def _read(path: pathlib.Path, needed: dict[str, type]) -> dict[str, Any]:
  return records.read(path, records.ANEW if path.exists() else _NAME, needed)
