"""The training cost of the networks, from the records beside their weights."""

from collections.abc import Sequence

import numpy as np

from kdmri_jax.report import Budget
from kdmri_jax.training.experiment import Experiment


def seconds(pipelines: Sequence[Experiment]) -> dict[str, float]:
  """Stage -> its training time, mean over the seeds for which it has begun."""
  found = {}
  for name in pipelines[0].config.pipeline:
    progress = _progress(pipelines, name)
    if progress:
      found[name] = float(np.mean([each.seconds for each in progress]))
  return found


def budget(pipelines: Sequence[Experiment], name: str) -> Budget:
  """The training cost of a stage's weights, including the stages it started from.

  Args:
    pipelines: the experiment, once per seed for which the stage is finished.
    name: the stage. Steps and seconds are None where the folder of a stage that it
      started from has been deleted.
  """
  stage = pipelines[0].config.stages[name]
  if name in pipelines[0].given:
    record = pipelines[0].origin(name).record
    return Budget(record["stage"]["epochs"] if record else 0, None, None, given=True)
  own = Budget(stage.epochs, None, None)
  if progress := _progress(pipelines, name):
    time = float(np.mean([each.seconds for each in progress]))
    own = Budget(stage.epochs, progress[0].step, time)
  start = stage.start_from.partition("/")[0]
  if not start:
    return own
  before = budget(pipelines, start)
  return Budget(*map(_sum, own[:3], before[:3]))


def _progress(pipelines, name):
  found = [pipeline.progress(name) for pipeline in pipelines]
  return [each for each in found if each]


def _sum(a, b):
  return None if a is None or b is None else a + b
