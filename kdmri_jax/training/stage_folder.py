"""The folder of a stage: its record and its checkpoints."""

import contextlib
import os
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.training import records
from kdmri_jax.training.checkpoint import Checkpoints, Progress

RECORD = "trained_with.json"
GIVEN = "given.json"
_OF_GIVEN = {"digests": dict, "text": str}
_RETRIES = 5
_REMEDY = "Restore it from a backup, or remove the stage's folder to train it again."

_Found = TypeVar("_Found")


class StageFolder:
  """The folder of a stage; can be read while another process trains the stage.

  Args:
    path: the folder.

  Attributes:
    path: the folder.
    checkpoints: the part of it that holds the checkpoints.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path
    self.checkpoints = path / "checkpoints"

  def progress(self) -> Progress | None:
    """The progress of the stage; None when it has not begun."""
    if not self.checkpoints.is_dir():
      return None
    return self._read(Checkpoints.progress)

  def is_finished(self) -> bool:
    """Whether the stage has been trained to its last epoch."""
    progress = self.progress()
    return progress is not None and progress.finished

  def weights(self, shapes: Any, item: str = "best") -> Any:
    """Weights of a finished stage.

    Args:
      shapes: shapes and types of the same network's weights.
      item: "best", or "branches" for the student's blocks of SFT-KD-Recon.

    Raises:
      UserError: they cannot be read, or were changed after the training.
    """
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return self._read(lambda checkpoints: checkpoints.best(like, item))

  def _read(self, read: Callable[[Checkpoints], _Found]) -> _Found:
    """Reads the newest checkpoint; again if a training replaced it meanwhile."""
    for _ in range(_RETRIES):
      before = self._paths()
      try:
        return self._read_once(read)
      except Exception:  # Orbax raises nearly any type where a folder vanishes
        if self._paths() == before:
          raise
    return self._read_once(read)

  def _read_once(self, read: Callable[[Checkpoints], _Found]) -> _Found:
    opened = Checkpoints(self.checkpoints, read_only=True)
    with contextlib.closing(opened) as checkpoints:
      return read(checkpoints)

  def _paths(self) -> set[str]:
    """All folders and files of the checkpoints that are there now."""
    return {
      os.path.join(folder, name)
      for folder, folders, files in os.walk(self.checkpoints)
      for name in (*folders, *files)
    }

  def digests(self) -> dict[str, str]:
    """Digests of a finished stage's "best" weights and "branches"; else {}."""
    if given := self.given():
      return given["digests"]
    progress = self.progress()
    if not (progress and progress.finished):
      return {}
    return {name: one for name, one in progress.weights.items() if name != "latest"}

  def given(self) -> dict[str, Any] | None:
    """The record of a stage that was given, see `give`; None for other stages."""
    path = self.path / GIVEN
    return records.read(path, records.ANEW, _OF_GIVEN) if path.exists() else None

  def give(self, origin: dict[str, Any], *, write: bool) -> None:
    """Records the origin of a given stage, or checks it against the record.

    Args:
      origin: a JSON object, with the "digests" of its weights.
      write: False to check only.

    Raises:
      UserError: the stage was trained here, or given with other weights.
    """
    if self.progress() is not None:
      found = "a stage that was trained here and shall now be given"
      expected = "a work directory in which it was given from the beginning"
      remedy = "Choose another --workdir, or leave the stage's `given` empty."
      raise UserError(self.path, found, expected, remedy)
    before = self.given()
    if before and before["digests"] != origin["digests"]:
      changed = records.in_words(before["digests"], origin["digests"])
      found = f"other weights than those of {origin['text']} ({changed})"
      expected = "the weights that were given when this run began"
      remedy = "Give those, or start again in another --workdir."
      raise UserError(self.path / GIVEN, found, expected, remedy)
    if write:
      records.write(self.path / GIVEN, origin)

  def record(self) -> dict[str, Any]:
    """The record of the training, see `records.describe`.

    Settings that its version did not have have their defaults.

    Raises:
      UserError: there is none.
    """
    return records.completed(records.read(self.path / RECORD, _REMEDY))

  def check(self, expected: dict[str, Any]) -> None:
    """Refuses a stage that was trained with another record.

    Args:
      expected: the record of this run's stage; weights that are not known yet are not
        compared.

    Raises:
      UserError: lists the differences.
    """
    if given := self.given():
      found = f"a stage that was given ({given['text']})"
      remedy = "Set the stage's `given` again, or choose another --workdir."
      raise UserError(self.path / GIVEN, found, "a stage that this run trains", remedy)
    if self.progress() is None:
      return
    unknown = [key for key, known in expected["weights_of"].items() if not known]
    free = {"version", *(f"weights_of.{key}" for key in unknown)}
    if found := records.in_words(self.record(), expected, free.__contains__):
      raise UserError(
        self.path,
        f"a stage that was trained with other settings: {found}",
        "the stage of this run",
        "Remove this folder to train the stage again. To use weights of another run, "
        "set the stage's `given` to that run's WORKDIR/STAGE.",
      )

  def begin(self, record: dict[str, Any]) -> None:
    """Writes the record before the first step; checks it when a training continues.

    Raises:
      UserError: see `check`; or the folder cannot be written.
    """
    self.check(record)
    if self.progress() is None:
      records.write(self.path / RECORD, record)
