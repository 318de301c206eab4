"""SwinIR: size, names, outputs of an independent implementation, settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import published_networks

from kdmri_jax import interop, models
from kdmri_jax.config import ModelConfig
from kdmri_jax.errors import UserError
from kdmri_jax.models import features
from kdmri_jax.models.swinir import SwinIR

TINY = dict(depths=(2,), features=4, heads=2, window=4)
LIGHT = dict(depths=(6,) * 4, features=60, upsampler="pixelshuffledirect")
LARGE = dict(depths=(6,) * 9, features=240, heads=8, residual="3conv")


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    ({}, 11_497_681),
    (dict(**LIGHT, scale=2, channels=3), 910_152),
    (dict(depths=(6,) * 4, features=60), 903_121),
    (dict(upsampler="pixelshuffle", scale=4, channels=3), 11_900_199),
    (dict(**LARGE, upsampler="nearest+conv", scale=4, channels=3), 28_013_059),
  ],
)
def test_published_parameter_counts(settings, expected):
  model = SwinIR(**settings)
  image = jnp.zeros((1, 8, 8, model.channels))
  params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
  assert features.count_parameters(params) == expected


@pytest.mark.parametrize("name", list(published_networks.SWINIR))
def test_golden_outputs_and_features(golden, name):
  settings, state, image = published_networks.swinir(name)
  model, variables = interop.from_swinir_state_dict(state)
  assert model == SwinIR(**settings)
  run = jax.jit(lambda params: features.apply(model, params, image, None)[1])
  sown = run(variables["params"])
  prefix = f"swinir/{name}/"
  kept = {k: v for k, v in golden("enhancement").items() if k.startswith(prefix)}
  assert f"{prefix}image" in kept
  for key, expected in kept.items():
    values = sown[key.removeprefix(prefix)]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5)


def test_every_activation_is_sown():
  settings = TINY | dict(depths=(2, 1), upsampler="pixelshuffledirect", scale=2)
  state = published_networks.draw(published_networks.swinir_shapes(**settings))
  model, variables = interop.from_swinir_state_dict(state)
  shapes = jax.eval_shape(
    lambda p: features.apply(model, p, jnp.zeros((2, 5, 7, 1)), None)[1],
    variables["params"],
  )
  layers = ("rstb_1/activation_1", "rstb_1/activation_2", "rstb_2/activation_1")
  inner = {"head", *layers, "rstb_1/output", "rstb_2/output", "body"}
  assert set(shapes) == inner | {"image"}
  assert {shapes[name].shape for name in inner} == {(2, 5, 7, 4)}
  assert shapes["image"].shape == (2, 10, 14, 1)


def test_other_channels_are_refused():
  with pytest.raises(ValueError, match=r"expected \[B, H, W, 1\]"):
    SwinIR(**TINY).init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)))


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(depths=(2, "a")), "depths: found (2, 'a'); expected whole numbers from 1 on"),
    (dict(depths=()), "depths: found (); expected whole numbers"),
    (dict(depths=6), "a value of type tuple"),
    (dict(features=10, heads=4), "features: found 10; expected a multiple of 4"),
    (
      dict(residual="2conv"),
      "found '2conv'; expected one of '1conv', '3conv'",
    ),
    (
      dict(upsampler="bicubic"),
      "found 'bicubic'; expected one of '', 'pixelsh",
    ),
    (dict(scale=2), "scale: found 2; expected one of 1"),
    (dict(upsampler="nearest+conv"), "scale: found 1; expected one of 4"),
    (dict(windows=8), "Did you mean 'window'"),
  ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
  with pytest.raises(UserError) as caught:
    models.build(ModelConfig("swinir", settings), None)
  assert message in str(caught.value)


def test_it_is_built_by_name():
  config = ModelConfig("swinir", dict(depths=(2, 2), features=12))
  expected = SwinIR(depths=(2, 2), features=12)
  assert models.build(config, None) == expected
