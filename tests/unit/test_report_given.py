"""Given stages in reports: their records, their teachers, their training cost."""

import pytest
from helpers.tiny import finish, make, tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.report import given, training_cost
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
  """A run of which all stages are finished."""
  run = make(tmp_path_factory.mktemp("first"))
  finish(run, *run.config.pipeline)
  return run


def standing_on(folder, run, *names, **changes):
  """A run to which the stages of another one are given."""
  config = tiny_config(**changes)
  for name in names:
    config.stages[name].given = f"{run.workdir.path}/{name}"
  found = Experiment(config_lib.parse(config), folder)
  found.claim([name for name in found.config.pipeline if name not in names])
  return found


def test_a_given_stage_has_its_record_and_its_teacher(first, tmp_path):
  run = standing_on(tmp_path / "same", first, "teacher", "kd")
  found = given.of_run([run, run.for_seed(43)])
  assert found.keys() == {"teacher", "kd"}
  kd = found["kd"]
  assert kd.origin.startswith(f"{first.workdir.path}/kd, seed 42 (digest ")
  assert kd.once and kd.has_network and kd.taught_by == ("teacher",)
  assert kd.record["stage"]["start_from"] == "feature"
  assert found["teacher"].taught_by == ()
  run = standing_on(tmp_path / "other", first, "kd", seed=7)
  assert given.of_run([run])["kd"].taught_by == ("teacher of another run",)


def test_the_epochs_are_those_of_the_network_itself(first, tmp_path):
  """A teacher's do not count, nor are those of another run's stages known."""

  def epochs(run, name="kd"):
    return training_cost.budget([run], name).epochs

  assert (epochs(first), epochs(first, "teacher")) == (4, 2)
  config = tiny_config()
  config.stages.kd.update(shrink=0.2, start_from="")
  config.stages.feature.start_from = "teacher/layers"
  run = Experiment(config_lib.parse(config), tmp_path / "shrink")
  assert epochs(run) == epochs(run, "feature") == 2
  run = standing_on(tmp_path / "given", first, "feature", "kd")
  assert epochs(run) is None and epochs(run, "feature") == 2
