"""A run's folder: its config, its lock, and where each stage lives."""

import contextlib
import fcntl
import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.errors import UserError
from kdmri_jax.saving import replacing, saving

# Where data stand and how they are called; digests say what they are.
_FREE_RECORDS = re.compile(r"(.*\.)?(root|file|complex_file|unit|split_rule)")


class WorkDir:
  """The folder of a run.

  Attributes:
    path: the folder.
    seed_path: the part that belongs to one seed.
    task: the task whose results are meant; "" where there is one.
  """

  def __init__(self, path: pathlib.Path, seed: int, task: str = ""):
    self.path = path
    self.seed_path = path / f"seed_{seed}"
    self.task = task

  def stage(self, name: str) -> pathlib.Path:
    """Folder of a stage, or of another row of the comparison."""
    return self.seed_path / name

  def results(self, name: str) -> pathlib.Path:
    """Folder of a stage's reconstructions."""
    return self.stage(name) / "results" / self.task

  @property
  def report(self) -> pathlib.Path:
    """Folder of the report."""
    return self.path / "report" / self.task

  def seeds(self, name: str) -> list[int]:
    """The seeds with which a stage has begun."""
    folders = self.path.glob(f"seed_*/{name}/checkpoints")
    seeds = (folder.parts[-3].removeprefix("seed_") for folder in folders)
    return sorted(int(seed) for seed in seeds if seed.isdecimal())

  @contextlib.contextmanager
  def locked(self) -> Iterator[None]:
    """Keeps a second process out; released by the system even after a crash.

    Raises:
      UserError: another process works here, or the folder cannot be written.
    """
    with saving(self.path):
      self.path.mkdir(parents=True, exist_ok=True)
      lock = (self.path / ".lock").open("w")
    with lock:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        raise UserError(
          self.path,
          "another process at work here",
          "a work directory of one's own",
          "Wait for it, or choose another --workdir.",
        ) from None
      yield

  def claim(self, config: ExperimentConfig, dataset: dict[str, Any]) -> None:
    """Records the config and the data, or checks them against an earlier run's.

    Data that have moved are the same data, and recorded at their new place.

    Args:
      config: the experiment.
      dataset: the record of its data, with digests of mask and images.

    Raises:
      UserError: the folder was made by another config or from other data.
    """
    settings = config_lib.to_dict(config)
    claims = (
      (self.path / "config.json", settings, config_lib.is_free, "settings"),
      (self.path / "dataset.json", dataset, _FREE_RECORDS.fullmatch, "data"),
    )
    for path, value, free, what in claims:
      _compare(path, json.loads(json.dumps(value)), free, what)
    for path, value, *_ in claims:
      with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def _compare(
  path: pathlib.Path, value: dict[str, Any], free: Callable[[str], Any], what: str
) -> None:
  """Refuses a file that differs from `value` in a key that is not `free`."""
  if path.exists():
    with _readable(path):
      before = json.loads(path.read_text())
      if not isinstance(before, dict):
        raise ValueError("not an object")
    different = [
      f"{key} was {old!r}, now {new!r}"
      for key, old, new in _differences(before, value)
      if not free(key)
    ]
    if different:
      raise UserError(
        path,
        f"other {what} than this run's: {'; '.join(different[:5])}",
        "the ones this work directory was made with",
        "Choose another --workdir, or remove this one to start anew.",
      )


@contextlib.contextmanager
def _readable(path):
  try:
    yield
  except (OSError, ValueError) as error:
    raise UserError(
      path,
      f"a file that cannot be read ({error})",
      "the JSON file a run writes",
      "Choose another --workdir, or remove this file.",
    ) from error


def _differences(before, now, where: str = "") -> list[tuple[str, Any, Any]]:
  """(dotted key, value before, value now) of all that differs."""
  if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
    before, now = dict(enumerate(before)), dict(enumerate(now))
  if isinstance(before, dict) and isinstance(now, dict):
    return [
      difference
      for key in sorted({*before, *now})
      for difference in _differences(
        before.get(key), now.get(key), f"{where}.{key}" if where else str(key)
      )
    ]
  return [] if before == now else [(where, before, now)]
