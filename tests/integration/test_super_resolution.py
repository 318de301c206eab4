"""Super-resolution: the same stages with VDSR and a mask of the central k-space."""

import json

import pytest
from helpers.marks import slow
from helpers.tiny import tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.experiments import base
from kdmri_jax.report import write_reports
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("protocol", [slow("paper"), slow("reference")])
def test_the_four_stages(protocol, tmp_path):
  config = tiny_config(protocol, epochs=1, devices=1)
  base.super_resolution(config, factor=2.0)
  for model in config.models.values():
    model.features = 4
  pipeline = Experiment(config_lib.parse(config), tmp_path)
  train(pipeline)
  folder = write_reports.write_reports([pipeline])[0].path.parent
  report = json.loads((folder / "report.json").read_text())
  rows = {row["model"]: row["parameters"] for row in report["rows"]}
  assert set(rows) == {"zero_filled", "teacher", "student", "kd"}
  assert rows["teacher"] > rows["student"] == rows["kd"]
  assert report["mask"]["acceleration"] == pytest.approx(4.0)
