"""The perceptual loss by its definition in float64, and the weights it reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from kdmri_jax.errors import UserError
from kdmri_jax.interop import load_vgg, torch_file
from kdmri_jax.losses.perceptual import Perceptual

pytestmark = pytest.mark.usefixtures("quick_compilation")

# Convolutions as in VGG-13, ten times narrower: a ReLU after each, five poolings.
WIDTHS = {0: 6, 2: 6, 5: 12, 7: 12, 10: 25, 12: 25, 15: 51, 17: 51, 20: 51, 22: 51}


def state():
  rng, inputs, found = np.random.default_rng(0), 3, {}
  for index, outputs in WIDTHS.items():
    weight = rng.normal(size=(outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
    found[f"features.{index}.weight"] = weight.astype(np.float32)
    found[f"features.{index}.bias"] = rng.normal(size=outputs).astype(np.float32) / 10
    inputs = outputs
  return found | {"classifier.0.weight": np.ones((4, 4), np.float32)}


@pytest.fixture
def file(monkeypatch):
  """Stands for a checkpoint that has been read; the reader has tests of its own."""
  content = state()
  monkeypatch.setattr(torch_file, "read", lambda path: content)
  return content


def expected(prediction, target):
  """Of one grey image [H, W]."""
  mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  maps = [
    (x[None] - mean[:, None, None]) / deviation[:, None, None]
    for x in (prediction.astype(np.float64), target.astype(np.float64))
  ]
  weights, distance = state(), 0.0
  for index in list(WIDTHS)[:8]:
    weight = weights[f"features.{index}.weight"].astype(np.float64)
    bias = weights[f"features.{index}.bias"]
    maps = [
      np.maximum(
        0,
        [
          sum(correlate(c, k, "same") for c, k in zip(x, filters, strict=True)) + b
          for filters, b in zip(weight, bias, strict=True)
        ],
      )
      for x in maps
    ]
    if index in (2, 7, 12, 17):
      distance += np.square(maps[0] - maps[1]).mean()
      maps = [x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2] for x in maps]
      maps = [
        x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max(axis=(2, 4))
        for x in maps
      ]
  return distance


def pair(channels=1):
  rng = np.random.default_rng(1)
  return rng.random((2, 2, 17, 12, channels)).astype(np.float32)


def test_follows_its_definition_in_float64(file):
  prediction, target = pair()
  values = jax.jit(Perceptual(load_vgg("vgg13.pth")))(prediction, target)
  wanted = [
    expected(p[..., 0], t[..., 0]) for p, t in zip(prediction, target, strict=True)
  ]
  np.testing.assert_allclose(values, wanted, rtol=1e-4)


def test_complex_images_are_compared_by_magnitude(file):
  perceptual = jax.jit(Perceptual(load_vgg("vgg13.pth")))
  prediction, target = pair(channels=2)
  magnitudes = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (prediction, target))
  np.testing.assert_allclose(
    perceptual(prediction, target), perceptual(*magnitudes), rtol=1e-5
  )
  gradient = jax.jit(jax.grad(lambda p: perceptual(p, target).sum()))(
    jnp.zeros_like(target)
  )
  assert np.isfinite(gradient).all()


def test_equal_images_have_no_distance(file):
  target = pair()[0]
  assert not Perceptual(load_vgg("vgg13.pth"))(target, target).any()


def test_the_blocks_are_those_between_poolings(file):
  blocks = load_vgg("vgg13.pth")
  assert [len(block) for block in blocks] == [2, 2, 2, 2, 2]
  assert blocks[1][0][0].shape == (3, 3, 6, 12)


@pytest.mark.parametrize(
  ("change", "found"),
  [
    ({"features.0.weight": None}, "no features.0.weight"),
    ({"features.5.bias": None}, "features.5, weight and bias"),
    ({"features.2.weight": np.ones((6, 5, 3, 3))}, "features.2, weight and bias"),
    ({"features.7.weight": np.full((12, 12, 3, 3), np.nan)}, "features.7 with NaN"),
    ({"features.7.weight": None}, "features.10 after features.5"),
  ],
)
def test_other_files_are_refused(file, change, found):
  for key, value in change.items():
    file.pop(key)
    if value is not None:
      file[key] = value
  with pytest.raises(UserError) as caught:
    load_vgg("vgg.pth")
  assert found in str(caught.value)
  assert "vgg16" in str(caught.value)
