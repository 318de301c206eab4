"""Runs whose test subjects are of another source."""

import json

import pytest
from helpers.tiny import tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError
from kdmri_jax.inference import account
from kdmri_jax.report.write_reports import write_reports
from kdmri_jax.training.experiment import Experiment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


def make(path, given="", own_seed=0, **there):
  """A student trained on brains of 24x20; tested on hearts of 28x28, or on `there`."""
  config = tiny_config(epochs=1, devices=1)
  config.pipeline = config.evaluation.models = ("student",)
  config.evaluation.update(teacher="teacher", distilled=())
  config.data.phantom.update(subjects=6, seed=own_seed)
  config.stages.student.given = str(given)
  config.data.test_source.source = "phantom"
  hearts = dict(family="cardiac", subjects=3, slices=2, size=(28, 28), seed=7)
  config.data.test_source.phantom.update(hearts | there)
  return Experiment(config_lib.parse(config), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  pipeline = make(tmp_path_factory.mktemp("run"))
  train(pipeline)
  return pipeline


def test_the_report_says_on_what_it_was_trained_and_tested(run):
  (report,) = write_reports([run])
  assert not report.failed
  page = (run.workdir.report / "report.md").read_text()
  assert "trained on phantom (brain) and are tested on phantom (cardiac)" in page
  assert "evaluated are subjects of this source alone" in page
  assert "The test images differ in their statistics" in page
  page = (run.workdir.report / "index.html").read_text()
  assert "data: trained on phantom (brain), tested on phantom (cardiac)" in page
  found = json.loads((run.workdir.report / "report.json").read_text())
  assert found["evaluated_on"] == "test"
  results = sorted(path.name for path in run.workdir.results("student").iterdir())
  assert results == [f"cardiac_00{k}.h5" for k in range(3)]


def test_the_network_is_said_to_be_trained_on_its_training_data(run):
  known = account.training(run.workdir.path, run.config, "student", 42, "")
  assert "subjects (phantom), 24x20, each volume" in known.text
  scan = run.dataset.test.volumes[0].target
  (shape,) = [text for text in account.outside(known, None, scan) if "28x28" in text]
  assert shape.endswith("the network was trained on 24x20 alone.")


def test_another_test_source_is_refused(run):
  with pytest.raises(UserError, match=r"config.json.*data.test_source.phantom.seed: 7"):
    make(run.workdir.path, seed=8).claim(["student"])


def test_a_given_stage_knows_its_training_subjects(run, tmp_path):
  given = run.workdir.path / "student"
  other = make(tmp_path, given, own_seed=1, family="knee")
  other.claim(["student"])
  (note,) = other.given_notes()  # the other test source is none of its settings
  assert "other training images" in note and "mask" not in note
  seen = {"family": "brain", "seed": 0, "size": (24, 20)}
  with pytest.raises(UserError, match=r"which was trained on brain_\d.* evaluates"):
    make(tmp_path / "seen", given, own_seed=1, **seen)
