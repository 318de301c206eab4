"""Whole trainings in which a teacher becomes its student."""

import shutil

import jax
import pytest
from helpers.tiny import (
  assert_same_end,
  final,
  history,
  stop_in_dispatch,
  tiny_config,
  train,
)

from kdmri_jax import config as config_lib
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.experiments import base
from kdmri_jax.inference import load
from kdmri_jax.models.features import count_parameters
from kdmri_jax.report import write_reports
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


def experiment(path, **changes):
  """kd shrinks in the first half of its steps, with all of what it may join."""
  config = tiny_config(epochs=2, devices=1)
  base.for_all_stages(config, optimiser="muon", ema=0.9)
  config.stages.kd.update(start_from="", shrink=0.5, kernels="expanded")
  config.pipeline = ("teacher", "student", "kd")
  config.update_from_flattened_dict(changes)
  return Experiment(config_lib.parse(config), path)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_end(tmp_path, monkeypatch):
  """And its network is a student, in the report and as it is loaded."""
  train(experiment(tmp_path / "whole"), ["teacher"])
  shutil.copytree(tmp_path / "whole", tmp_path / "parts")
  train(experiment(tmp_path / "whole"), ["student", "kd"])
  with monkeypatch.context() as patch:
    stop_in_dispatch(patch, 2)
    with pytest.raises(Interrupted):
      train(experiment(tmp_path / "parts"), ["kd"])
  train(experiment(tmp_path / "parts"), ["kd"])
  assert_same_end(*(final(tmp_path / name, "kd") for name in ("whole", "parts")))
  lines = [history(tmp_path / name, "kd") for name in ("whole", "parts")]
  assert lines[0] == lines[1]
  nets = [load.load(tmp_path / "whole", name, (24, 20)) for name in ("student", "kd")]
  assert count_parameters(nets[0].params) == count_parameters(nets[1].params)
  assert jax.tree.structure(nets[0].params) == jax.tree.structure(nets[1].params)
  (report,) = write_reports.write_reports([experiment(tmp_path / "whole")])
  text = (report.path.parent / "report.md").read_text()
  assert "kd started from weights of teacher, unlike student" in text
  row = next(line for line in text.splitlines() if line.startswith("| kd "))
  assert "| 450 | 20 |" in row  # ten steps of the teacher, and ten


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"stages.student.shrink": 0.5}, "student.shrink: found no teacher"),
    ({"stages.kd.start_from": "student"}, "kd.shrink: found 0.5, and start_from=stu"),
    ({"stages.kd.swap": 0.5}, "kd.shrink: found 0.5, and swap=0.5"),
    ({"models.teacher.features": 8}, "kd.shrink: found a DCCNN, and a DCCNN of other"),
  ],
)
def test_mistakes_are_told_before_training(tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    experiment(tmp_path / "run", **changes)
  assert not (tmp_path / "run").exists()
