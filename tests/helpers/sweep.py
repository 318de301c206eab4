"""Runs of one student, of which the first trains the teacher."""

import functools

import pytest
from helpers.tiny import tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError
from kdmri_jax.training import stage_loop
from kdmri_jax.training.experiment import Experiment


def sweep_config(alpha=0.5, given=""):
  """A teacher and a student that imitates it; `alpha` weighs the reconstruction."""
  config = tiny_config(epochs=1, devices=1)
  config.pipeline = ("teacher", "kd")
  config.data.phantom.subjects = 6
  config.evaluation.models = ("teacher", "kd")
  config.stages.kd.start_from = ""
  config.stages.kd.terms.reconstruction.weight = alpha
  config.stages.kd.terms.imitation.weight = 1 - alpha
  config.stages.teacher.given = str(given)
  return config


def make(path, config=None, **options):
  """The experiment of `sweep_config(**options)`, or of another config."""
  return Experiment(config_lib.parse(config or sweep_config(**options)), path)


def again(folder, alpha=0.5):
  """One of the runs that stand on the first."""
  given = folder / "alpha25" / "teacher"
  return make(folder / f"alpha{round(100 * alpha)}", alpha=alpha, given=given)


def refused(message, config, path):
  """Building or claiming the experiment raises an error that matches."""
  with pytest.raises(UserError, match=message) as caught:
    made = make(path, config)
    made.claim(made.config.pipeline)
  assert not (path / "config.json").exists()
  return str(caught.value)


@functools.cache
def three_runs(temporary):
  """Three runs, of which the first trains the teacher; how often each stage trained.

  Args:
    temporary: where pytest keeps all folders; the runs serve all tests there.
  """
  folder, trained = temporary / "sweep", []
  run = stage_loop.train

  def counting(experiment, name, signal):
    trained.append(name)
    run(experiment, name, signal)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(stage_loop, "train", counting)
    train(make(folder / "alpha25", alpha=0.25))
    for alpha in (50, 75):
      given = folder / "alpha25" / "teacher"
      train(make(folder / f"alpha{alpha}", alpha=alpha / 100, given=given))
  return folder, trained
