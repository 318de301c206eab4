"""The training cost of the networks, from the records beside their weights."""

from collections.abc import Sequence

import numpy as np

from kdmri_jax.config import starting
from kdmri_jax.report.inputs import Budget
from kdmri_jax.training.experiment import Experiment


def seconds(pipelines: Sequence[Experiment]) -> dict[str, float]:
  """Stage -> its training time, mean over the seeds for which it has begun."""
  spent = {name: _spent(pipelines, name) for name in pipelines[0].config.pipeline}
  return {name: time for name, (_, time) in spent.items() if time is not None}


def budget(pipelines: Sequence[Experiment], name: str) -> Budget:
  """The training cost of a stage's weights, including the stages it started from.

  Args:
    pipelines: the experiment, once per seed for which the stage is finished.
    name: the stage. Steps and seconds are None where the folder of a stage that it
      started from has been deleted.
  """
  if name in pipelines[0].given:
    record = pipelines[0].origin(name).record
    return Budget(_epochs_there(record), None, None, given=True)
  stage = pipelines[0].config.stages[name]
  own = stage.epochs, *_spent(pipelines, name)
  if not stage.start:
    return Budget(*own)
  both = zip(own, budget(pipelines, stage.start)[:3], strict=True)
  epochs, *more = (None if None in pair else sum(pair) for pair in both)
  return Budget(stage.epochs if starting.takes_layers(vars(stage)) else epochs, *more)


def _epochs_there(record):
  """The epochs of a given stage; None where it goes on from one of another run."""
  if not record:
    return None
  stage = record["stage"]
  alone = starting.takes_layers(stage) or not stage["start_from"]
  return stage["epochs"] if alone else None


def _spent(pipelines, name):
  """Steps of a stage, and its seconds, mean over the seeds; None before it begins."""
  found = [pipeline.progress(name) for pipeline in pipelines]
  begun = [progress for progress in found if progress]
  if not begun:
    return None, None
  return begun[0].step, float(np.mean([progress.seconds for progress in begun]))
