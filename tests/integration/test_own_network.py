"""A network of one's own: named by its import path, taught by layers it sows."""

import sys

import jax
import numpy as np
import pytest
from helpers.tiny import tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax import models
from kdmri_jax.config import ModelConfig
from kdmri_jax.errors import UserError
from kdmri_jax.models import features
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.report import write_reports
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")

UNET = '''
from flax import linen as nn
from kdmri_jax.physics import consistency
from kdmri_jax.types import Outputs


class Net(nn.Module):
  """Two levels; sows its deep maps at half the size."""

  width: int = 6
  channels: int = 1

  @nn.compact
  def __call__(self, image, measurement):
    deep = nn.relu(nn.Conv(self.width, (3, 3), strides=(2, 2))(image))
    self.sow("intermediates", "deep", deep)
    up = nn.ConvTranspose(self.width, (3, 3), strides=(2, 2))(deep)
    self.sow("intermediates", "shallow", nn.relu(up))
    image = image + nn.Conv(self.channels, (3, 3))(nn.relu(up))
    make = consistency.make(measurement, channels=self.channels)
    return Outputs(make(image))


NOT_A_NETWORK = 3


class Silent(nn.Module):
  """Sows nothing, runs its convolution twice."""

  @nn.compact
  def __call__(self, image, measurement):
    conv = nn.Conv(1, (3, 3))
    return Outputs(conv(conv(image)))


class Twice(nn.Module):
  """Shares the weights of its two steps."""

  @nn.compact
  def __call__(self, image, measurement):
    step = Step()
    return Outputs(step(step(image)))


class Step(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = nn.Conv(1, (3, 3))(x)
    self.sow("intermediates", "step", x)
    return x


class Bare(nn.Module):
  @nn.compact
  def __call__(self, image, measurement):
    return nn.Conv(1, (3, 3))(image)


class Smaller(nn.Module):
  @nn.compact
  def __call__(self, image, measurement):
    return Outputs(nn.Conv(1, (3, 3), strides=(2, 2))(image))


class Idle(nn.Module):
  @nn.compact
  def __call__(self, image, measurement):
    return Outputs(image)


class Statistics(nn.Module):
  @nn.compact
  def __call__(self, image, measurement):
    return Outputs(nn.BatchNorm(use_running_average=False)(image))


class Random(nn.Module):
  @nn.compact
  def __call__(self, image, measurement):
    return Outputs(nn.Dropout(0.5, deterministic=False)(nn.Conv(1, (3, 3))(image)))


class Wrong(nn.Module):
  @nn.compact
  def __call__(self, image, measurement):
    return Outputs(nn.Conv(self.features, (3, 3))(image))
'''
MASK = np.ones((8, 6), np.uint8)


@pytest.fixture
def own(tmp_path, monkeypatch):
  (tmp_path / "own_network.py").write_text(UNET)
  monkeypatch.syspath_prepend(tmp_path)
  yield "own_network:Net"
  sys.modules.pop("own_network", None)


@pytest.mark.slow
def test_it_teaches_a_dccnn_through_maps_of_another_size(own, tmp_path, caplog):
  config = tiny_config()
  config.models.teacher = dict(network=own, width=6)
  attention = config.stages.feature.terms.attention
  attention.hint = ("deep", "shallow")
  with caplog.at_level("INFO", logger="absl"):
    pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  assert "feature, attention: the larger maps are pooled to ((12, 10), (24, 20))" in (
    caplog.text
  )
  pipelines = train(pipeline)
  report = write_reports.write_reports(pipelines)[0]
  assert "kd" in report.table
  values = pipelines[0].progress("feature").best_value
  assert 0 < values < 10


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(network="dcnn"), "network: found 'dcnn'"),
    (dict(network="no_such_module:Net"), "No module named 'no_such_module'"),
    (dict(network="own_network:None"), "own_network:None"),
    (dict(network="own_network:NOT_A_NETWORK"), "not a flax.linen.Module"),
    (dict(network="own_network:Net", widht=3), "Did you mean 'width'"),
    (dict(network="own_network:Net", width=0.5), "width: found 0.5"),
    (dict(network="own_network:Net", width=True), "width: found True"),
  ],
)
def test_a_mistake_is_named(own, settings, message):
  network = settings.pop("network")
  with pytest.raises(UserError) as caught:
    models.build(ModelConfig(network, settings), MASK)
  assert message in str(caught.value)


@pytest.mark.parametrize(
  ("network", "message"),
  [
    ("Bare", "a network that returns a "),
    ("Smaller", "an image of shape (1, 12, 10, 1)"),
    ("Idle", "variables of the kinds (none)"),
    ("Statistics", "batch_stats"),
    ("Random", "InvalidRngError"),
    ("Wrong", "own_network.py, line"),
  ],
)
def test_a_network_that_breaks_the_contract_is_refused(own, tmp_path, network, message):
  config = tiny_config()
  config.models.student = dict(network=f"own_network:{network}")
  with pytest.raises(UserError) as caught:
    Experiment(config_lib.parse(config), tmp_path / "run")
  assert str(caught.value).startswith("config.models.student.network: ")
  assert message in str(caught.value)
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_network_without_hints_can_be_taught_by_images(own, tmp_path):
  config = tiny_config(epochs=1)
  config.models.student = dict(network="own_network:Silent")
  config.pipeline = ("teacher", "kd")
  config.stages.kd.start_from = ""
  config.evaluation.models = ("teacher", "kd")
  config.evaluation.student = "kd"
  config.evaluation.distilled = ()
  train(Experiment(config_lib.parse(config), tmp_path / "run"))


def test_a_layer_that_runs_twice_is_sown_twice(own):
  model = models.build(ModelConfig("own_network:Twice", {}), MASK)
  image = np.ones((1, 8, 6, 1), np.float32)
  params = model.init(jax.random.key(0), image, None)["params"]
  outputs, sown = features.apply(model, params, image, None)
  np.testing.assert_array_equal(sown["Step_0/step#2"], outputs.image)
  assert (sown["Step_0/step"] != outputs.image).any()


def test_settings_left_out_keep_the_defaults():
  model = models.build(ModelConfig("dccnn", {"cascades": 2}), MASK)
  assert model == DCCNN(cascades=2)


@pytest.mark.parametrize("value", [None, 3, {}, {"cascades": 2}])
def test_a_model_without_network_is_refused(value):
  config = tiny_config().to_dict()
  config["models"]["student"] = value
  with pytest.raises(UserError, match=r"config\.models\.student: .*`network`"):
    config_lib.parse(config)
