"""Convolutions in bands of rows against the same network layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.models import bands
from kdmri_jax.models.cnn import CNN
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.training.step import make_predict
from kdmri_jax.types import Acquisition, Slices


def both(model, x, *measurement):
  params = model.init(jax.random.key(1), x, *measurement)["params"]
  whole = jax.jit(model.apply)({"params": params}, x, *measurement)
  return jax.jit(lambda *given: bands.apply(model, *given))(params, x, *measurement), (
    whole
  )


@pytest.mark.parametrize(
  ("shape", "pixels", "settings"),
  [
    ((1, 24, 20, 1), 100, (3, 8, 1)),
    ((3, 17, 13, 2), 60, (5, 4, 2)),  # bands of unequal size
    ((2, 5, 31, 1), 10, (4, 6, 1)),  # bands of one row
    ((1, 9, 8, 1), 10**4, (2, 3, 1)),  # a single band
    ((2, 6, 7, 1), 14, (1, 3, 1)),  # no hidden layer
    ((1, 90, 4, 1), 4, (2, 2, 1)),  # as many bands as are allowed
  ],
)
def test_cnn(shape, pixels, settings, monkeypatch):
  monkeypatch.setattr(bands, "_PIXELS", pixels)
  found, whole = both(CNN(*settings), jax.random.normal(jax.random.key(0), shape))
  np.testing.assert_allclose(found, whole, atol=1e-6)


def test_half_precision(monkeypatch):
  monkeypatch.setattr(bands, "_PIXELS", 64)
  x = jax.random.normal(jax.random.key(0), (2, 20, 16, 1))
  found, whole = both(CNN(3, 8, 1, "bfloat16"), x)
  assert found.dtype == whole.dtype == jnp.float32
  np.testing.assert_allclose(found, whole, atol=4e-3)


@pytest.mark.parametrize(
  "settings",
  [{"consistency": "line0"}, {"padding": 5}, {"channels": 2, "variant": "reference"}],
)
def test_dccnn(settings, monkeypatch):
  monkeypatch.setattr(bands, "_PIXELS", 128)
  shape = (2, 30, 26, settings.get("channels", 1))
  target = np.random.default_rng(0).random(shape, np.float32)
  mask = np.zeros((30, 26), np.uint8)
  mask[::3] = 1
  found, whole = both(DCCNN(3, 4, 6, **settings), *undersample(target, mask))
  np.testing.assert_allclose(found.image, whole.image, atol=2e-6)


def test_prediction_on_one_device_is_that_of_all(monkeypatch):
  """One device works in bands, several layer by layer."""
  monkeypatch.setattr(bands, "_PIXELS", 128)
  target = np.random.default_rng(0).random((2, 40, 24, 1), np.float32)
  mask = np.zeros((1, 40, 24), np.uint8)
  mask[:, ::3] = 1
  given = Slices(target), Acquisition(mask)
  model = DCCNN(2, 3, 4, consistency="line0")
  params = model.init(jax.random.key(1), *undersample(target, mask[0]))["params"]
  devices = jax.local_devices()[:2]
  one = make_predict(model, devices[:1], in_bands=True)(params, *given)
  shared = make_predict(model, devices)(params, *given)
  np.testing.assert_allclose(one[0], shared[0], atol=1e-6)
  np.testing.assert_allclose(one[1], shared[1], atol=2e-6)


def count_convolutions(apply, *given):
  return str(jax.make_jaxpr(apply)(*given)).count("conv_general_dilated[")


def test_every_network_of_cnns_has_bands():
  image = jnp.zeros((1, 100, 100, 1))
  model = VDSR(4, 5)
  params = model.init(jax.random.key(1), image)["params"]
  in_bands = count_convolutions(lambda *x: bands.apply(model, *x).image, params, image)
  whole = count_convolutions(
    lambda params, x: model.apply({"params": params}, x).image, params, image
  )
  assert in_bands >= whole + 2 * 4  # the two middle layers, in four bands


def test_small_images_stay_whole():
  """They would take long to compile for nothing."""
  image = jnp.zeros((1, 64, 64, 1))
  model = CNN(4, 5, 1)
  params = model.init(jax.random.key(1), image)["params"]
  few = count_convolutions(lambda *x: bands.apply(model, *x), params, image)
  plain = count_convolutions(
    lambda params, x: model.apply({"params": params}, x), params, image
  )
  assert few <= 2 * plain  # one form for CPUs, one for accelerators
