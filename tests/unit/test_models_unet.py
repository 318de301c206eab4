"""U-Net: size, names, outputs of an independent implementation, settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import published_networks

from kdmri_jax import interop, models
from kdmri_jax.config import ModelConfig
from kdmri_jax.errors import UserError
from kdmri_jax.models import features
from kdmri_jax.models.unet import UNet


@pytest.mark.parametrize(
  ("settings", "expected"), [({}, 7_756_097), (dict(features=64), 31_023_745)]
)
def test_published_parameter_counts(settings, expected):
  model = UNet(**settings)
  image = jnp.zeros((1, 320, 320, 1))
  params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
  assert features.count_parameters(params) == expected


@pytest.mark.parametrize("name", list(published_networks.UNET))
def test_golden_outputs_and_features(golden, name):
  settings, state, image = published_networks.unet(name)
  model, variables = interop.from_unet_state_dict(state)
  assert model == UNet(**settings)
  run = jax.jit(lambda params: features.apply(model, params, image, None)[1])
  sown = run(variables["params"])
  levels = range(1, settings["levels"] + 1)
  blocks = ["bottom", *(f"{way}_{k}" for way in ("down", "up") for k in levels)]
  names = {f"{block}/activation_{k}" for block in blocks for k in (1, 2)}
  assert set(sown) == names | {"image"}
  for key in ("image", "up_1/activation_2"):
    expected = golden("unet")[f"{name}/{key}"]
    atol = 3e-6 * np.abs(expected).max()
    np.testing.assert_allclose(sown[key], expected, rtol=0, atol=atol)


def test_a_standardised_network_follows_the_scale_of_its_image():
  _, state, image = published_networks.unet("even")
  model, variables = interop.from_unet_state_dict(state)
  run = jax.jit(lambda x: model.apply(variables, x).image)
  expected = 3 * run(image) + 5
  np.testing.assert_allclose(run(3 * image + 5), expected, rtol=1e-4, atol=1e-4)
  assert np.isfinite(run(jnp.ones_like(image))).all()  # no deviation


def test_images_that_do_not_fit_are_refused():
  model = UNet(features=2, levels=3)

  def init(shape):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))

  init((1, 8, 16, 1))
  for shape, message in (
    ((1, 7, 16, 1), "found 7x16 pixels; expected at least 8 rows and columns, and 16"),
    ((1, 8, 8, 1), "found 8x8 pixels"),
    ((1, 16, 16, 2), r"expected \[B, H, W, 1\]"),
  ):
    with pytest.raises(ValueError, match=message):
      init(shape)


def test_settings_and_name():
  config = ModelConfig("unet", dict(features=8, levels=2, standardised=False))
  assert models.build(config, None) == UNet(8, 2, 1, False)
  with pytest.raises(UserError, match="levels: found 0; expected whole numbers"):
    models.build(ModelConfig("unet", dict(levels=0)), None)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda state: state.pop("conv.layers.0.weight"), "missing conv.layers.0.weight"),
    (lambda state: state.update(x=np.ones(2)), "unknown x"),
    (
      lambda state: state.update(
        {"down_sample_layers.8.layers.0.weight": np.ones((2, 2, 3, 3))}
      ),
      "found 9 levels",
    ),
    (lambda state: state.clear(), "no down_sample_layers.0.layers.0.weight"),
  ],
)
def test_state_dicts_of_other_networks_are_refused(change, message):
  _, state, _ = published_networks.unet("even")
  change(state)
  with pytest.raises(UserError, match=message) as caught:
    interop.from_unet_state_dict(state)
  assert "Use a checkpoint of fastMRI's U-Net" in str(caught.value)


def test_names_of_lightning_s_checkpoints():
  settings, state, _ = published_networks.unet("odd")
  wrapped = {"state_dict": {f"unet.{key}": value for key, value in state.items()}}
  model, _ = interop.from_unet_state_dict(wrapped)
  assert model == UNet(**settings)
