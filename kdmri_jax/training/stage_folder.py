"""The folder of a stage: its record and its checkpoints."""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.saving import replacing, saving
from kdmri_jax.training import fingerprint
from kdmri_jax.training.checkpoint import Checkpoints, Progress

RECORD = "trained_with.json"


class StageFolder:
  """The folder of a stage, for reading while no one or another process trains it.

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
    """How far the stage is; None when it has not begun."""
    if not self.checkpoints.is_dir():
      return None
    checkpoints = Checkpoints(self.checkpoints, read_only=True)
    progress = checkpoints.progress()
    checkpoints.close()
    return progress

  def is_finished(self) -> bool:
    """Whether the stage has been trained to its last epoch."""
    progress = self.progress()
    return progress is not None and progress.finished

  def weights(self, shapes: Any, item: str = "best") -> Any:
    """Weights of a finished stage.

    Args:
      shapes: shapes and types of the same network's weights.
      item: "best", or "branches" for the student's blocks trained along.

    Raises:
      UserError: they cannot be read, or were changed after the training.
    """
    checkpoints = Checkpoints(self.checkpoints, read_only=True)
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    params = checkpoints.best(like, item)
    checkpoints.close()
    return params

  def digest(self, item: str = "best") -> str:
    """Digest of a finished stage's weights; "" of one that is not finished."""
    progress = self.progress()
    return progress.weights.get(item, "") if progress else ""

  def record(self) -> dict[str, Any]:
    """The record of the training, see `fingerprint.describe`.

    Raises:
      UserError: there is none.
    """
    path = self.path / RECORD
    try:
      return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
      raise UserError(
        path,
        f"no readable record of how the stage was trained ({error})",
        "the one that is written when its training begins",
        "Remove the stage's folder to train it again.",
      ) from error

  def check(self, expected: dict[str, Any]) -> None:
    """Refuses what was trained here otherwise than `expected`.

    Raises:
      UserError: lists the differences.
    """
    if self.progress() is not None:
      fingerprint.check(self.path, self.record(), expected)

  def begin(self, record: dict[str, Any]) -> None:
    """Writes the record before the first step; checks it when a training goes on.

    Raises:
      UserError: see `check`; or the folder cannot be written.
    """
    if self.progress() is not None:
      self.check(record)
      return
    with saving(self.path):
      self.path.mkdir(parents=True, exist_ok=True)
    with replacing(self.path / RECORD) as temporary:
      temporary.write_text(json.dumps(record, indent=2) + "\n")
