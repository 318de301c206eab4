"""What shows a training while it runs: TensorBoard always, others on request.

A tracker is one file and one entry in `TRACKERS`.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.training.trackers import with_mlflow
from kdmri_jax.training.trackers.tracker import OpenRun, RunTracker
from kdmri_jax.training.trackers.with_mlflow import MlflowRun
from kdmri_jax.training.trackers.with_tensorboard import TensorBoardRun


class Tracker(NamedTuple):
  """A tracker that a config can ask for.

  Attributes:
    require: imports its package; a `UserError` names the extra that brings it.
    open_run: opens it for a run.
  """

  require: Callable[[], Any]
  open_run: OpenRun


# The choices of `config.watch.tracker`.
TRACKERS = {"mlflow": Tracker(with_mlflow.require, MlflowRun)}


def check(config: ExperimentConfig) -> None:
  """Refuses a tracker whose package is not installed.

  Raises:
    UserError: names the extra that brings it.
  """
  if name := config.watch.tracker:
    TRACKERS[name].require()


def open_all(workdir: pathlib.Path, config: ExperimentConfig) -> list[RunTracker]:
  """Opens TensorBoard, and the tracker that the config asks for.

  Raises:
    UserError: its package is missing, or it cannot write.
  """
  trackers: list[RunTracker] = [TensorBoardRun(workdir, config)]
  if name := config.watch.tracker:
    trackers.append(TRACKERS[name].open_run(workdir, config))
  return trackers


def finish(
  workdir: pathlib.Path,
  config: ExperimentConfig,
  tables: Mapping[str, tuple[str, Mapping[str, Mapping]]],
) -> None:
  """Shows the results of a run, see `tracker.RunTracker.finish`."""
  for tracker in open_all(workdir, config):
    tracker.finish(tables)
