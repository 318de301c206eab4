"""Networks of fastMRI teach a DC-CNN, and a DC-CNN teaches a VarNet."""

import json

import jax
import numpy as np
import pytest
from helpers import published_networks
from helpers.tiny import finish, tiny_config, train

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax import interop
from kdmri_jax.interop import torch_file
from kdmri_jax.report import write_reports
from kdmri_jax.training.experiment import Experiment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


def unet(config):
  """By two of its layers, and by its image."""
  settings, state, _ = published_networks.unet("even")
  attention = config.stages.feature.terms.attention
  attention.guided = ("cascade_1/activation_2", "cascade_2/activation_2")
  attention.hint = ("bottom/activation_2", "up_2/activation_2")
  return settings, state, interop.from_unet_state_dict(state)


def varnet(config):
  """On several coils: by its U-Nets, the images after its cascades, and its image."""
  settings, state, *_ = published_networks.varnet("coils")
  config.coils.update(count=3, seed=1)
  config.models.student.channels = 2
  attention = config.stages.feature.terms.attention
  attention.guided = ("cascade_1/activation_2", "consistency_1")
  attention.hint = ("cascade_1/unet/up_1/activation_2", "consistency_1")
  return settings, state, interop.from_varnet_state_dict(state, channels=2)


@pytest.mark.parametrize("network", [unet, varnet])
def test_a_published_network_teaches(network, tmp_path):
  config = tiny_config(epochs=1, devices=1)
  settings, state, (_, variables) = network(config)
  torch_file.write(tmp_path / "teacher.pt", {"state_dict": state})
  config.models.teacher = dict(settings, network=network.__name__)
  config.stages.teacher.given = str(tmp_path / "teacher.pt")
  config.data.phantom.subjects = 4
  config.pipeline = ("teacher", "feature", "kd")
  config.evaluation.update(models=("teacher", "kd"), student="kd", distilled=())
  pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  train(pipeline)
  jax.tree.map(
    np.testing.assert_array_equal, pipeline.best("teacher"), variables["params"]
  )
  for stage in ("feature", "kd"):
    losses = pipeline.progress(stage)
    assert losses.finished and np.isfinite(losses.best_value)


def test_a_varnet_of_one_coil_is_taught_and_reconstructs(tmp_path):
  """By a DC-CNN, on real images."""
  config = tiny_config(epochs=1, devices=1)
  sizes = dict(cascades=1, features=4, levels=1, sensitivities="given")
  config.models.student = dict(sizes, network="varnet")
  config.stages.kd.start_from = ""
  config.data.phantom.subjects = 4
  config.pipeline = ("teacher", "kd")
  config.evaluation.update(models=("teacher", "kd"), student="kd", distilled=())
  pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  finish(pipeline, "teacher")
  train(pipeline, ["kd"])
  (report,) = write_reports.write_reports([pipeline])
  found = json.loads(report.path.with_name("report.json").read_text())
  assert [row["model"] for row in found["rows"]] == ["zero_filled", "teacher", "kd"]
  assert not found["failed"]
  net = kd.load(tmp_path / "run", "kd")
  image = np.random.default_rng(0).random((2, 24, 20))
  mask = pipeline.dataset.acquisitions[24, 20].masks[0]
  with pytest.warns(UserWarning):
    image = net.reconstruct(*kd.undersample(image, mask)[1])
  assert image.shape == (2, 24, 20) and image.min() >= 0
