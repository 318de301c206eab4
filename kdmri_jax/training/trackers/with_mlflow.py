"""MLflow: a run for each stage and seed, and one for the comparison.

An MLflow experiment stands for a work directory. Its store is a database in
WORKDIR/mlflow; nothing leaves the machine unless MLFLOW_TRACKING_URI names a server.
"""

import contextlib
import logging
import os
import pathlib
import re
import textwrap
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from kdmri_jax import config as config_lib
from kdmri_jax import json_text, optional
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.errors import UserError
from kdmri_jax.saving import make_folder
from kdmri_jax.training.trackers import curves
from kdmri_jax.training.trackers.tracker import TrackedStage

_KEY = "config.watch.tracker"
_IMAGE = "validation slice"
_COMPARISON = "comparison"


def require() -> Any:
  """MLflow's package.

  Raises:
    UserError: it is not installed; names the extra that brings it.
  """
  os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent
  found = optional.require("mlflow", "mlflow", _KEY, "'mlflow'")
  logging.getLogger("mlflow").setLevel(logging.WARNING)
  return found


class MlflowRun:
  """A work directory as an experiment of MLflow.

  Args:
    workdir: the work directory; its absolute path is the experiment's name.
    config: the experiment.

  Raises:
    UserError: MLflow is not installed, or its store cannot be written.
  """

  def __init__(self, workdir: pathlib.Path, config: ExperimentConfig):
    self._config, folder = config, workdir.absolute() / "mlflow"
    self._store = (
      os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/mlflow.db"
    )
    is_local = not self._store.startswith("http")
    if is_local:
      make_folder(folder)
    mlflow = require()
    with _failing(self._store):
      self._client = mlflow.MlflowClient(self._store)
      name = str(workdir.absolute())
      found = self._client.get_experiment_by_name(name)
      self._experiment = (
        found.experiment_id
        if found
        else self._client.create_experiment(
          name,
          artifact_location=str(folder / "artifacts") if is_local else None,
          tags={"mlflow.note.content": config.name} if config.name else {},
        )
      )

  def stage(self, stage: TrackedStage) -> "MlflowStage":
    """Opens the stage's run; adds points that its log has and the run lacks."""
    shown = f"{stage.name}, seed {stage.seed}"
    tags = {"stage": stage.name, "seed": str(stage.seed)}
    with _failing(self._store):
      run, is_new = self._run(shown, tags)
      if is_new:
        settings = curves.hyperparameters(self._config, stage.name, stage.seed)
        for key, value in settings.items():
          self._client.log_param(run, _name(key), value)
        self._log_config(run)
    found = MlflowStage(self._client, run, self._store)
    for entry in stage.past:
      step, values = curves.of_entry(entry)
      found.scalars(values, step)
    return found

  def finish(self, tables: Mapping[str, tuple[str, Mapping[str, Mapping]]]) -> None:
    """Logs the tables as text, and their means as metrics, into a run of their own."""
    with _failing(self._store):
      run, _ = self._run(_COMPARISON, {"stage": _COMPARISON, "seed": "all"})
      self._log_config(run)
      known = self._client.get_run(run).data.metrics
      for task, (text, rows) in tables.items():
        before = f"{task}/" if task else ""
        self._client.log_text(run, text, f"{before}comparison.txt")
        for row, means in rows.items():
          for metric, value in means.items():
            key = _name(f"{before}{metric}/{row}")
            if value is not None and known.get(key) != value:
              self._client.log_metric(run, key, value)
      self._client.set_terminated(run, "FINISHED")

  def _run(self, name: str, tags: dict[str, str]) -> tuple[str, bool]:
    """The id of the run with these tags, which is then running; whether it is new."""
    wanted = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
    found = self._client.search_runs([self._experiment], wanted, max_results=1)
    if found:
      run = found[0].info.run_id
      self._client.update_run(run, status="RUNNING")
      return run, False
    run = self._client.create_run(self._experiment, tags=tags, run_name=name)
    return run.info.run_id, True

  def _log_config(self, run: str) -> None:
    text = json_text.dumps(config_lib.to_dict(self._config), indent=2)
    self._client.log_text(run, text, "config.json")


class MlflowStage:
  """The run of a stage.

  A point or an image that is there already is not added again: a stage that goes on
  after a kill repeats the steps after its last checkpoint.

  Args:
    client: of MLflow.
    run: id of the run.
    store: its address, for error messages.
  """

  def __init__(self, client: Any, run: str, store: str):
    self._client, self._id, self._store = client, run, store
    self._steps: dict[str, set[int]] = {}
    with _failing(store):
      files = client.list_artifacts(run, "images")
    paths = " ".join(file.path for file in files)
    self._images = {int(step) for step in re.findall(r"[+%]step[+%](\d+)", paths)}

  def scalars(self, values: Mapping[str, float], step: int) -> None:
    """Adds a point to each metric."""
    from mlflow.entities import Metric

    now, points = int(1000 * time.time()), []
    with _failing(self._store):
      for key, value in values.items():
        if step not in self._known(_name(key)):
          points.append(Metric(_name(key), value, now, step))
          self._steps[_name(key)].add(step)
      if points:
        self._client.log_batch(self._id, points)

  def _known(self, key: str) -> set[int]:
    if key not in self._steps:
      history = self._client.get_metric_history(self._id, key)
      self._steps[key] = {point.step for point in history}
    return self._steps[key]

  def image(self, picture: np.ndarray, step: int) -> None:
    """Logs the picture under its step."""
    if step in self._images:
      return
    self._images.add(step)
    with _failing(self._store):
      image = Image.fromarray(picture)
      self._client.log_image(self._id, image, key=_IMAGE, step=step)

  def close(self, finished: bool) -> None:
    """Ends the run, which may go on later."""
    with contextlib.suppress(Exception):
      self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


def _name(text: str) -> str:
  """A name that MLflow takes."""
  return re.sub(r"[^/\w.\- ]", "_", text)


@contextlib.contextmanager
def _failing(store: str) -> Iterator[None]:
  """Turns an error of MLflow, or of the store behind it, into a `UserError`."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    text = textwrap.shorten(str(error), 300, placeholder=" ...")
    found = f"an error of MLflow ({type(error).__name__}: {text})"
    expected = "a store that takes what is logged"
    remedy = (
      f"Resolve it, or train without it (--{_KEY}=); the same command then goes on."
    )
    raise UserError(store, found, expected, remedy) from error
