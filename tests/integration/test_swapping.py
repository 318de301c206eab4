"""Whole trainings with swapped cascades, and with several teachers."""

import json

import jax
import numpy as np
import pytest
from helpers.tiny import (
  assert_same_end,
  final,
  history,
  stop_in_dispatch,
  tiny_config,
  train,
  write_outputs,
)

from kdmri_jax import config as config_lib
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


def swapping_config(**changes):
  """Two teachers; kd swaps, taught by the first, both teaches by their mean."""
  config = tiny_config(epochs=2, devices=1)
  config.models.second = config.models.teacher.copy_and_resolve_references()
  stages = config.stages
  stages.teacher_b = stages.teacher.copy_and_resolve_references()
  stages.teacher_b.model = "second"
  stages.kd.update(start_from="", swap=0.6)
  stages.both = stages.kd.copy_and_resolve_references()
  stages.both.update(swap=0.0, teacher="teacher,teacher_b")
  config.pipeline = ("teacher", "teacher_b", "student", "kd", "both")
  config.evaluation.models = config.pipeline
  config.update_from_flattened_dict(changes)
  return config


def experiment(path, **changes):
  return Experiment(config_lib.parse(swapping_config(**changes)), path)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_end(tmp_path, monkeypatch):
  """And the teacher's weights stay as they are."""
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  train(experiment(whole), ["teacher"])
  before = experiment(whole).best("teacher")
  train(experiment(whole), ["kd"])
  after = experiment(whole).best("teacher")
  jax.tree.map(np.testing.assert_array_equal, after, before)
  given = {"stages.teacher.given": str(whole / "teacher")}
  with monkeypatch.context() as patch:
    stop_in_dispatch(patch, 3)
    with pytest.raises(Interrupted):
      train(experiment(parts, **given), ["kd"])
  train(experiment(parts, **given), ["kd"])
  assert_same_end(final(whole, "kd"), final(parts, "kd"))
  assert history(whole, "kd") == history(parts, "kd")
  with pytest.raises(UserError, match=r"swap: 0\.6 there, 0\.0 here"):
    experiment(whole, **{"stages.kd.swap": 0.0}).best("kd")


@pytest.mark.slow
def test_several_teachers_are_recorded_and_teach_by_their_mean(tmp_path):
  """As do the images of one of them, given in its place."""
  pipeline = experiment(tmp_path / "run")
  train(pipeline, ["teacher", "teacher_b", "both"])
  path = pipeline.workdir.stage("both") / "trained_with.json"
  digests = json.loads(path.read_text())["weights_of"]
  assert len(set(digests.values())) == 2 and all(digests.values())
  assert digests == {
    name: pipeline.workdir.digest(name) for name in ("teacher", "teacher_b")
  }
  changes = {"stages.teacher_b.given": str(tmp_path / "outputs")}
  changes["stages.teacher.given"] = str(tmp_path / "run" / "teacher")
  write_outputs(pipeline, "teacher_b", tmp_path / "outputs")
  given = experiment(tmp_path / "given", **changes)
  assert given.plans.networks["both"].teachers[1] is None
  train(given, ["both"])
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
    given.best("both"),
    pipeline.best("both"),
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"stages.student.swap": 0.5}, "student.swap: found no teacher"),
    ({"stages.both.swap": 0.5}, "both.swap: found 2 teachers"),
    ({"stages.kd.branches": "student"}, "kd.swap: found 0.6, and the branches"),
    (
      {"models.teacher.cascades": 3},
      "kd.swap: found a DCCNN of 2 cascades, and a DCCNN of 3 cascades as its teacher",
    ),
    ({"stages.kd.swap": 1.5}, "kd.swap: found 1.5; expected a number from 0 to 1"),
  ],
)
def test_mistakes_are_told_before_training(tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    experiment(tmp_path / "run", **changes)
  assert not (tmp_path / "run").exists()
