"""EDSR: size, names, outputs of an independent implementation, settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import published_networks

from kdmri_jax import interop, models
from kdmri_jax.config import ModelConfig
from kdmri_jax.errors import UserError
from kdmri_jax.models import features
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.subpixel import shuffle

LARGE = dict(blocks=32, features=256, channels=3, scale=4)


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    ({}, 1_219_841),
    (dict(channels=3, scale=2), 1_369_859),
    (LARGE, 43_089_923),
  ],
)
def test_published_parameter_counts(settings, expected):
  model = EDSR(**settings)
  image = jnp.zeros((1, 4, 4, model.channels))
  params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
  assert features.count_parameters(params) == expected


@pytest.mark.parametrize("name", list(published_networks.EDSR))
def test_golden_outputs_and_features(golden, name):
  settings, state, image = published_networks.edsr(name)
  res_scale = settings.get("res_scale", 1.0)
  model, variables = interop.from_edsr_state_dict(state, res_scale=res_scale)
  assert model == EDSR(**settings)
  run = jax.jit(lambda params: features.apply(model, params, image, None)[1])
  sown = run(variables["params"])
  kept = {
    k: v for k, v in golden("enhancement").items() if k.startswith(f"edsr/{name}")
  }
  assert f"edsr/{name}/image" in kept
  for key, expected in kept.items():
    atol = 1e-5 * np.abs(expected).max()
    values = sown[key.removeprefix(f"edsr/{name}/")]
    np.testing.assert_allclose(values, expected, rtol=0, atol=atol)


def test_every_activation_is_sown():
  state = published_networks.draw(published_networks.edsr_shapes(2, 3, scale=2))
  model, variables = interop.from_edsr_state_dict(state)
  run = jax.jit(lambda p: features.apply(model, p, jnp.ones((2, 5, 4, 1)), None)[1])
  sown = run(variables["params"])
  inner = {f"block_{k}/{name}" for k in (1, 2) for name in ("activation", "output")}
  assert set(sown) == inner | {"head", "body", "image"}
  assert {sown[name].shape for name in inner | {"head", "body"}} == {(2, 5, 4, 3)}
  assert sown["image"].shape == (2, 10, 8, 1)
  assert sown["block_2/activation"].min() == 0  # after ReLU


def test_a_pixel_s_channels_become_its_square():
  channels = np.arange(2 * 9).reshape(1, 1, 1, 18)
  image = np.asarray(shuffle(jnp.asarray(channels), 3))
  expected = np.arange(18).reshape(2, 3, 3).transpose(1, 2, 0)
  np.testing.assert_array_equal(image[0], expected)


def test_other_channels_are_refused():
  with pytest.raises(ValueError, match=r"expected \[B, H, W, 1\]"):
    EDSR(blocks=1, features=2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)))


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(blocks=0), "blocks: found 0; expected whole numbers from 1 on"),
    (dict(scale=5), "scale: found 5; expected one of 1, 2, 3, 4"),
    (dict(mean=(0.5, 0.5)), "mean: found (0.5, 0.5); expected () or one for each"),
    (dict(features=3.5), "a value of type int"),
  ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
  with pytest.raises(UserError) as caught:
    models.build(ModelConfig("edsr", settings), None)
  assert message in str(caught.value)


def test_it_is_built_by_name():
  config = ModelConfig("edsr", dict(blocks=2, mean=(0.5,)))
  assert models.build(config, None) == EDSR(blocks=2, mean=(0.5,))
