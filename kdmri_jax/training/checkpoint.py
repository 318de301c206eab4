"""Saves and restores a stage: latest state, best weights and progress, all at once.

One Orbax checkpoint holds everything, so that no interruption can leave a state without
its best weights. It is complete before the previous one is removed. The progress has a
checksum and the digests of all arrays, which are compared whenever these are read.
"""

import dataclasses
import os
import pathlib
import shutil
import sys
import textwrap
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from kdmri_jax import json_text
from kdmri_jax.data import digests
from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import refuse_special
from kdmri_jax.saving import make_folder, require_space, saving
from kdmri_jax.training.step import TrainState

# Orbax warns whenever a folder is opened for reading.
logging.get_absl_logger().addFilter(
  lambda record: "is read only" not in str(record.msg)
)


def _hook(unraisable: Any, shown: Any = sys.unraisablehook) -> None:
  """Shows an exception, unless it is a read that Orbax gave up when another failed."""
  if str(unraisable.exc_value) != "Event loop is closed":
    shown(unraisable)


sys.unraisablehook = _hook

_OVERHEAD = 2**20  # bytes of Orbax's own files
_ITEMS = ("latest", "best", "progress", "branches")
_UNFINISHED = ".orbax-checkpoint-tmp"  # ending of the folder of what is being written
_PARTS = {*_ITEMS, *(f"{name}{_UNFINISHED}" for name in _ITEMS)}
_PARTS |= {"_CHECKPOINT_METADATA", "commit_success.txt"}


@dataclasses.dataclass
class Progress:
  """The progress of a stage.

  Attributes:
    step: completed optimiser steps.
    finished: whether all epochs are complete.
    best_value: lowest selected validation value; None before the first.
    best_epoch: the epoch after which it was reached, counted from 1.
    sums: sums of the training values over the steps of the unfinished epoch.
    seconds: time spent in training so far.
    weights: the digests of what was saved with it: "latest" state, "best" weights and
      the "branches" kept with them. Earlier versions left out "latest", and all of them
      before the stage was finished.
  """

  step: int = 0
  finished: bool = False
  best_value: float | None = None
  best_epoch: int = 0
  sums: dict[str, float] = dataclasses.field(default_factory=dict)
  seconds: float = 0.0
  weights: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Snapshot:
  """Everything that a stage needs to continue.

  Attributes:
    state: latest weights and optimiser state.
    best: weights with the lowest selected validation value.
    progress: the progress of the stage.
    branches: the student's blocks of SFT-KD-Recon at the time of `best`; None in other
      stages. Other auxiliary weights are dropped.
  """

  state: TrainState
  best: Any
  progress: Progress
  branches: Any = None


class Checkpoints:
  """The checkpoints of one stage.

  Args:
    directory: their folder; created when missing, unless `read_only`.
    read_only: True to read only, also while another process trains here.

  Raises:
    UserError: the folder cannot be written, or a link or a pipe is in it.
  """

  def __init__(self, directory: pathlib.Path, *, read_only: bool = False):
    self._directory = directory.absolute()
    for folder, _, names in os.walk(self._directory):
      for name in names:
        refuse_special(pathlib.Path(folder, name))  # Orbax would wait for ever
    if not read_only:
      make_folder(self._directory)
      # Orbax empties the folders that it removes, also where a link leads.
      if links := [path for path in directory.iterdir() if path.is_symlink()]:
        expected, remedy = "the checkpoints themselves", "Remove the link."
        raise UserError(links[0], "a symbolic link", expected, remedy)
    with saving(self._directory):
      self._manager = ocp.CheckpointManager(
        self._directory,
        item_names=_ITEMS,
        options=ocp.CheckpointManagerOptions(
          max_to_keep=None if read_only else 1,
          create=False,
          cleanup_tmp_directories=not read_only,
          read_only=read_only,
          save_interval_steps=0 if read_only else 1,
          enable_async_checkpointing=False,
          multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(), active_processes={jax.process_index()}
          ),
        ),
      )

  def save(self, snapshot: Snapshot) -> None:
    """Writes a checkpoint, then removes the previous one.

    Raises:
      UserError: the disk is full or cannot be written; the previous checkpoint is kept.
    """
    items, progress = _items(snapshot), snapshot.progress
    progress.weights = {name: digests.of_weights(item) for name, item in items.items()}
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
    require_space(self._directory, 2 * size + _OVERHEAD)
    with saving(self._directory):
      self._manager.save(
        progress.step,
        args=ocp.args.Composite(
          progress=ocp.args.JsonSave(json_text.sealed(dataclasses.asdict(progress))),
          **{name: ocp.args.StandardSave(item) for name, item in items.items()},
        ),
      )

  def restore(self, like: Snapshot) -> Snapshot | None:
    """Reads the newest checkpoint; None where there is none.

    Args:
      like: a fresh snapshot of the same network, for shapes and types.

    Raises:
      UserError: the checkpoint is damaged, of another network, or was changed.
    """
    if self._manager.latest_step() is None:
      return None
    read, progress = self._read(_items(like))
    state = TrainState(**read["latest"])
    return Snapshot(state, read["best"], progress, read.get("branches"))

  def progress(self) -> Progress | None:
    """The progress of the newest checkpoint; None where there is none."""
    return None if self._manager.latest_step() is None else self._read({})[1]

  def best(self, like: Any, item: str = "best") -> Any:
    """The best weights of a finished stage.

    Args:
      like: weights of the same network, for shapes and types.
      item: "best", or "branches" for the student's blocks of SFT-KD-Recon.

    Raises:
      UserError: the checkpoint is damaged, of another network, or was changed.
    """
    read, progress = self._read({item: jax.device_get(like)})
    if item not in progress.weights:
      raise self._unreadable(f"no digest of its {item} weights")
    return read[item]

  def close(self) -> None:
    """Releases Orbax's threads."""
    self._manager.close()

  def _read(self, like: dict[str, Any]) -> tuple[dict[str, Any], Progress]:
    """Items of the newest checkpoint, of these shapes and types, and its progress.

    They are compared with their digests, as far as the progress has these.
    """
    items = {name: ocp.args.StandardRestore(item) for name, item in like.items()}
    try:
      read = self._manager.restore(
        self._manager.latest_step(),
        args=ocp.args.Composite(progress=ocp.args.JsonRestore(), **items),
      )
      record = json_text.unsealed(read.progress)
      if missing := vars(Progress()).keys() - record.keys():
        raise KeyError(f"its progress lacks {', '.join(sorted(missing))}")
      progress = Progress(**record)
      for name in like:
        known = progress.weights.get(name)
        if known is not None and known != digests.of_weights(read[name]):
          raise ValueError(f"{name}: another digest than that of the arrays saved here")
      return read, progress
    except Exception as error:  # damaged files make Orbax raise nearly any type
      raise self._unreadable(error) from error

  def _unreadable(self, reason: object) -> UserError:
    reason = textwrap.shorten(str(reason), 300, placeholder=" ...")  # Orbax tells all
    found = f"a checkpoint that cannot be read ({reason})"
    expected = "an intact checkpoint of this network"
    remedy = (
      "Restore the stage's folder from a backup, or remove this one to train the "
    )
    remedy += "stage again."
    return UserError(self._directory, found, expected, remedy)


def sweep(directory: pathlib.Path) -> None:
  """Removes what a killed process left of a checkpoint that it wrote or removed.

  Args:
    directory: the folder of a stage's checkpoints; nobody else writes there now.
  """
  known = [
    path
    for path in directory.glob("[0-9]*")
    if path.is_dir() and not path.is_symlink() and {*os.listdir(path)} <= _PARTS
  ]
  steps = [path for path in known if path.name.isdecimal()]
  newest = max(steps, key=lambda path: int(path.name), default=None)
  is_whole = newest and (newest / "progress").is_dir()
  for path in known:
    if path.name.endswith(_UNFINISHED) or (
      is_whole and path in steps and path != newest
    ):
      shutil.rmtree(path, ignore_errors=True)


def _items(snapshot: Snapshot) -> dict[str, Any]:
  """The arrays of a checkpoint on the host, by the names of its items."""
  items = {"latest": snapshot.state._asdict(), "best": snapshot.best}
  if snapshot.branches:
    items["branches"] = snapshot.branches
  return jax.device_get(items)
