"""One image on several devices: the numbers of one device."""

import jax
import numpy as np
import pytest

from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.training import strips
from kdmri_jax.training.step import make_predict
from kdmri_jax.types import Acquisition, Slices


def problem(size, axis, channels=1):
  rng = np.random.default_rng(0)
  target = rng.random((1, *size, channels), np.float32)
  mask = np.zeros(size, np.uint8)
  lines = rng.permutation(size[axis])[: size[axis] // 3]
  mask[(lines,) if axis == 0 else (slice(None), lines)] = 1
  return Slices(target), Acquisition(mask[None])


def both(model, slices, acquisition, count):
  _, measurement = undersample(slices.target, acquisition.masks[0])
  params = model.init(jax.random.key(1), slices.target, measurement)["params"]
  devices = jax.local_devices()[:count]
  whole = make_predict(model, devices[:1])(params, slices, acquisition)
  found = strips.make_predict(model, devices)(params, slices, acquisition)
  return [np.asarray(x) for x in (*whole[:2], *found[:2])]


@pytest.mark.parametrize(
  ("size", "axis", "count", "settings"),
  [
    ((20, 61), 0, 2, {}),
    ((61, 20), 1, 2, {"variant": "reference"}),
    ((24, 50), 0, 4, {"channels": 2}),
    ((16, 9), 0, 3, {}),  # strips that are the whole image
    ((20, 40), 0, 2, {"padding": 3, "lam": 2.0, "consistency": "matrix0"}),
  ],
)
def test_dccnn(size, axis, count, settings):
  settings = {"consistency": f"line{axis}", **settings}
  model = DCCNN(2, 3, 6, **settings)
  case = problem(size, axis, settings.get("channels", 1))
  zero_filled, image, same_input, found = both(model, *case, count)
  np.testing.assert_array_equal(same_input, zero_filled)
  np.testing.assert_allclose(found, image, atol=2e-6)


def test_vdsr():
  _, image, _, found = both(VDSR(4, 5), *problem((37, 12), 0), 3)
  np.testing.assert_allclose(found, image, atol=2e-6)


def test_measured_kspace():
  slices, acquisition = problem((16, 40), 0)
  zero_filled, measurement = undersample(slices.target, acquisition.masks[0])
  slices = slices._replace(
    kspace=np.asarray(measurement.kspace), zero_filled=np.asarray(zero_filled)
  )
  model = DCCNN(2, 2, 4, consistency="line0")
  _, image, _, found = both(model, slices, acquisition, 2)
  np.testing.assert_allclose(found, image, atol=2e-6)


def test_the_margin_is_needed_in_full(monkeypatch):
  """Strips with less of it differ: the test above can fail."""
  model = DCCNN(2, 3, 6, consistency="line0")
  assert strips.reach(model) == (2, 3, 2)
  monkeypatch.setattr(strips, "reach", lambda model: strips.Reach(2, 2, 2))
  _, image, _, found = both(model, *problem((20, 61), 0), 2)
  assert np.abs(found - image).max() > 1e-5


@pytest.mark.parametrize("model", [DCCNN(consistency="rfft"), EDSR()])
def test_networks_that_need_whole_images(model):
  assert strips.reach(model) is None
