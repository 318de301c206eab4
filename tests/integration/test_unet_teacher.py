"""A U-Net that fastMRI's code trained teaches a DC-CNN, by its layers and its image."""

import jax
import numpy as np
import pytest
from helpers import published_networks
from helpers.tiny import tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax import interop
from kdmri_jax.interop import torch_file
from kdmri_jax.training.experiment import Experiment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


def test_a_published_unet_teaches(tmp_path):
  settings, state, _ = published_networks.unet("even")
  torch_file.write(tmp_path / "unet.pt", {"state_dict": state})
  config = tiny_config(epochs=1, devices=1)
  config.models.teacher = dict(settings, network="unet")
  config.stages.teacher.given = str(tmp_path / "unet.pt")
  attention = config.stages.feature.terms.attention
  attention.guided = ("cascade_1/activation_2", "cascade_2/activation_2")
  attention.hint = ("bottom/activation_2", "up_2/activation_2")
  config.data.phantom.subjects = 4
  config.pipeline = ("teacher", "feature", "kd")
  config.evaluation.update(models=("teacher", "kd"), student="kd", distilled=())
  pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  train(pipeline)
  _, variables = interop.from_unet_state_dict(state)
  jax.tree.map(
    np.testing.assert_array_equal, pipeline.best("teacher"), variables["params"]
  )
  for stage in ("feature", "kd"):
    losses = pipeline.progress(stage)
    assert losses.finished and np.isfinite(losses.best_value)
