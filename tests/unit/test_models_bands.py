"""Networks in XLA alone, in bands of rows, against the same layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.marks import slow

from kdmri_jax.models import bands
from kdmri_jax.models.cnn import CNN
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.ops import native
from kdmri_jax.physics.undersample import undersample

pytestmark = pytest.mark.usefixtures("quick_compilation")


def both(model, x, *measurement):
  params = jax.jit(model.init)(jax.random.key(1), x, *measurement)["params"]
  whole = jax.jit(model.apply)({"params": params}, x, *measurement)
  found = jax.jit(lambda *given: bands.apply(model, *given))(params, x, *measurement)
  return found, whole


@pytest.mark.parametrize(
  ("shape", "pixels", "settings"),
  [
    ((1, 24, 20, 1), 100, (3, 8, 1)),
    ((3, 17, 13, 2), 60, (5, 4, 2)),  # bands of unequal size
    slow((2, 5, 31, 1), 10, (4, 6, 1)),  # bands of one row
    slow((1, 9, 8, 1), 10**4, (2, 3, 1)),  # a single band
    slow((2, 6, 7, 1), 14, (1, 3, 1)),  # no hidden layer
    slow((1, 90, 4, 1), 4, (2, 2, 1)),  # as many bands as are allowed
    ((1, 20, 24, 1), 100, (4, 32, 1)),  # C++ otherwise
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


@pytest.mark.slow
@pytest.mark.parametrize(
  "settings",
  [
    {"consistency": "line0"},
    {"padding": 5},
    {"shared": True},
    {"channels": 2, "variant": "reference"},
  ],
)
def test_dccnn(settings, monkeypatch):
  monkeypatch.setattr(bands, "_PIXELS", 128)
  shape = (2, 30, 26, settings.get("channels", 1))
  target = np.random.default_rng(0).random(shape, np.float32)
  mask = np.zeros((30, 26), np.uint8)
  mask[::3] = 1
  found, whole = both(DCCNN(3, 4, 6, **settings), *undersample(target, mask))
  np.testing.assert_allclose(found.image, whole.image, atol=2e-6)


def count_convolutions(apply, *given):
  return str(jax.make_jaxpr(apply)(*given)).count("conv_general_dilated[")


def test_every_network_of_cnns_has_bands():
  image = jnp.zeros((1, 100, 100, 1))
  model = VDSR(4, 5)
  params = jax.jit(model.init)(jax.random.key(1), image)["params"]
  in_bands = count_convolutions(lambda *x: bands.apply(model, *x).image, params, image)
  whole = count_convolutions(
    lambda params, x: model.apply({"params": params}, x).image, params, image
  )
  assert in_bands >= whole + 2 * 4  # the two middle layers, in four bands


def test_small_images_stay_whole():
  """They would take long to compile for nothing."""
  image = jnp.zeros((1, 64, 64, 1))
  model = CNN(4, 5, 1)
  params = jax.jit(model.init)(jax.random.key(1), image)["params"]
  few = count_convolutions(lambda *x: bands.apply(model, *x), params, image)
  plain = count_convolutions(
    lambda params, x: model.apply({"params": params}, x), params, image
  )
  assert few <= 2 * plain  # one form for CPUs, one for accelerators


def test_no_native_code_is_called():
  """Exported networks run without this package."""
  image = jnp.zeros((1, 30, 30, 1))
  for model in (VDSR(3, 32), EDSR(1, 32)):
    params = jax.jit(model.init)(jax.random.key(1), image)["params"]
    call = lambda *x, model=model: bands.apply(model, *x).image  # noqa: E731
    assert "kdmri" not in str(jax.make_jaxpr(call)(params, image))
    whole = jax.make_jaxpr(lambda *x, m=model: m.apply({"params": x[0]}, x[1]).image)
    assert ("kdmri" in str(whole(params, image))) == (native.instructions() is not None)
