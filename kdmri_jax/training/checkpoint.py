"""Saves and restores a stage: latest state, best weights and progress, all at once.

One Orbax checkpoint holds everything, so that no interruption can leave a state without
its best weights. It is complete before the previous one is removed.
"""

import contextlib
import dataclasses
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from kdmri_jax.errors import UserError
from kdmri_jax.saving import require_space, saving
from kdmri_jax.training import fingerprint
from kdmri_jax.training.step import TrainState

# Orbax warns whenever a folder is opened for reading.
logging.get_absl_logger().addFilter(
  lambda record: "is read only" not in str(record.msg)
)

_OVERHEAD = 2**20  # bytes of Orbax's own files


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
    weights: once finished, the digests of the best weights ("best") and of the blocks
      kept with them ("branches").
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
  """

  def __init__(self, directory: pathlib.Path, *, read_only: bool = False):
    self._directory = directory.absolute()
    with saving(self._directory):
      self._manager = ocp.CheckpointManager(
        self._directory,
        item_names=("latest", "best", "progress", "branches"),
        options=ocp.CheckpointManagerOptions(
          max_to_keep=None if read_only else 1,
          create=not read_only,
          cleanup_tmp_directories=not read_only,
          read_only=read_only,
          save_interval_steps=0 if read_only else 1,
          enable_async_checkpointing=False,
        ),
      )

  def save(self, snapshot: Snapshot) -> None:
    """Writes a checkpoint, then removes the previous one.

    Raises:
      UserError: the disk is full or cannot be written; the previous checkpoint is kept.
    """
    state, best, branches = jax.device_get(
      (snapshot.state, snapshot.best, snapshot.branches)
    )
    if snapshot.progress.finished:
      kept = {"best": best} | ({"branches": branches} if branches else {})
      digests = {item: fingerprint.of_weights(each) for item, each in kept.items()}
      snapshot.progress.weights = digests
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state, best, branches)))
    require_space(self._directory, 2 * size + _OVERHEAD)
    with saving(self._directory):
      self._manager.save(
        snapshot.progress.step,
        args=ocp.args.Composite(
          latest=ocp.args.StandardSave(state._asdict()),
          best=ocp.args.StandardSave(best),
          progress=ocp.args.JsonSave(dataclasses.asdict(snapshot.progress)),
          **({"branches": ocp.args.StandardSave(branches)} if branches else {}),
        ),
      )

  def restore(self, like: Snapshot) -> Snapshot | None:
    """Reads the newest checkpoint; None where there is none.

    Args:
      like: a fresh snapshot of the same network, for shapes and types.

    Raises:
      UserError: the checkpoint is damaged or of another network.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    state, best, branches = jax.device_get((like.state, like.best, like.branches))
    with self._reading():
      read = self._manager.restore(
        step,
        args=ocp.args.Composite(
          latest=ocp.args.StandardRestore(state._asdict()),
          best=ocp.args.StandardRestore(best),
          progress=ocp.args.JsonRestore(),
          **({"branches": ocp.args.StandardRestore(branches)} if branches else {}),
        ),
      )
      progress = _progress(read.progress)
    branches = read.branches if branches else None
    return Snapshot(TrainState(**read.latest), read.best, progress, branches)

  def progress(self) -> Progress | None:
    """The progress of the newest checkpoint; None where there is none."""
    step = self._manager.latest_step()
    if step is None:
      return None
    with self._reading():
      args = ocp.args.Composite(progress=ocp.args.JsonRestore())
      return _progress(self._manager.restore(step, args=args).progress)

  def best(self, like: Any, item: str = "best") -> Any:
    """The best weights of a finished stage.

    Args:
      like: weights of the same network, for shapes and types.
      item: "best", or "branches" for the student's blocks of SFT-KD-Recon.

    Raises:
      UserError: the checkpoint is damaged, of another network, or was changed.
    """
    args = {item: ocp.args.StandardRestore(jax.device_get(like))}
    args = ocp.args.Composite(**args, progress=ocp.args.JsonRestore())
    with self._reading():
      read = self._manager.restore(self._manager.latest_step(), args=args)
      progress = _progress(read.progress)
      if fingerprint.of_weights(read[item]) != progress.weights.get(item):
        raise ValueError("its weights have another digest than those trained here")
    return read[item]

  def close(self) -> None:
    """Releases Orbax's threads."""
    self._manager.close()

  @contextlib.contextmanager
  def _reading(self):
    try:
      yield
    except (ValueError, TypeError, KeyError, OSError) as error:
      raise UserError(
        self._directory,
        f"a checkpoint that cannot be read ({error})",
        "an intact checkpoint of this network",
        "Remove this folder to train the stage again.",
      ) from error


def _progress(values: dict) -> Progress:
  names = {field.name for field in dataclasses.fields(Progress)}
  if set(values) != names:
    raise ValueError(f"its progress has the keys {sorted(values)}")
  return Progress(**values)
