"""Rolling windows against the same network layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.models import rolling
from kdmri_jax.models.cnn import CNN
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics.undersample import undersample


@pytest.mark.parametrize(
  ("shape", "pixels", "settings"),
  [
    ((1, 24, 20, 1), 100, (3, 8, 1)),
    ((3, 17, 13, 2), 60, (5, 4, 2)),  # windows that reach from one image to the next
    ((2, 5, 31, 1), 10, (4, 6, 1)),  # one row at a time
    ((1, 9, 8, 1), 10**4, (2, 3, 1)),  # one window
    ((2, 6, 7, 1), 30, (1, 3, 1)),  # no hidden layer
  ],
)
def test_cnn(shape, pixels, settings, monkeypatch):
  monkeypatch.setattr(rolling, "_PIXELS", pixels)
  x = jax.random.normal(jax.random.key(0), shape)
  model = CNN(*settings)
  params = model.init(jax.random.key(1), x)["params"]
  whole = model.apply({"params": params}, x)
  np.testing.assert_allclose(rolling.apply(model, params, x), whole, atol=1e-6)


def test_a_bias_does_not_leak_past_the_border():
  """Rows beyond the image are zero for every layer, whatever its bias."""
  x = jnp.zeros((1, 12, 10, 1))
  model = CNN(4, 5, 1)
  params = model.init(jax.random.key(1), x)["params"]
  params = jax.tree.map(lambda w: jnp.ones_like(w), params)
  whole = model.apply({"params": params}, x)
  assert np.ptp(whole) > 1
  np.testing.assert_allclose(rolling.apply(model, params, x), whole, rtol=1e-6)


def test_half_precision():
  x = jax.random.normal(jax.random.key(0), (2, 20, 16, 1))
  model = CNN(3, 8, 1, "bfloat16")
  params = model.init(jax.random.key(1), x)["params"]
  whole, found = model.apply({"params": params}, x), rolling.apply(model, params, x)
  assert found.dtype == whole.dtype == jnp.float32
  np.testing.assert_allclose(found, whole, atol=4e-3)


@pytest.mark.parametrize("padding", [0, 5])
def test_dccnn(padding, monkeypatch):
  monkeypatch.setattr(rolling, "_PIXELS", 128)
  target = np.random.default_rng(0).random((2, 30, 26, 1), np.float32)
  mask = np.zeros((30, 26), np.uint8)
  mask[::3] = 1
  image, measurement = undersample(target, mask)
  model = DCCNN(3, 4, 6, padding=padding, consistency="line0")
  params = model.init(jax.random.key(1), image, measurement)["params"]
  whole = model.apply({"params": params}, image, measurement).image
  found = rolling.apply(model, params, image, measurement).image
  np.testing.assert_allclose(found, whole, atol=2e-6)


def test_every_network_of_cnns_rolls():
  image = jnp.zeros((1, 40, 50, 1))
  model = VDSR(4, 5)
  params = model.init(jax.random.key(1), image)["params"]

  def program(apply):
    return str(jax.make_jaxpr(apply)(params, image))

  assert "scan[" in program(lambda p, x: rolling.apply(model, p, x).image)
  assert "scan[" not in program(lambda p, x: model.apply({"params": p}, x).image)
