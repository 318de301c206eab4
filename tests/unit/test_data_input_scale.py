"""The scale of scans: as bright as the training inputs, whatever their unit."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import tiny_config

from kdmri_jax import config as config_lib
from kdmri_jax.data import input_scale, traits
from kdmri_jax.data.input_scale import LARGEST, UNSCALED, InputScale, brightness

BRIGHT = InputScale("brightness", 0.4)


def volume(slices=5, size=(24, 20), seed=0):
  return np.random.default_rng(seed).gamma(2, 50, (slices, *size)).astype(np.float32)


@pytest.mark.parametrize("numpy", [np, jnp])
def test_the_brightness_is_exceeded_by_one_pixel_of_100(numpy):
  images = volume()
  each = [sorted(row.ravel().tolist(), reverse=True)[4] for row in images]  # 480 pixels
  assert brightness(images, numpy) == pytest.approx(np.mean(each), rel=1e-6)
  quantiles = np.quantile(images.reshape(5, -1), 0.99, axis=1)
  assert brightness(images, numpy) == pytest.approx(quantiles.mean(), rel=0.05)
  images[1:3] = 0
  kept = np.mean([each[0], *each[3:]])
  assert brightness(images, numpy) == pytest.approx(kept, rel=1e-6)


@pytest.mark.parametrize("numpy", [np, jnp])
@pytest.mark.parametrize("scale", [BRIGHT, LARGEST])
def test_a_divided_volume_has_the_level_whatever_its_unit(scale, numpy):
  for unit in (1e-6, 1.0, 3e4):
    images = unit * volume()
    divided = images / scale.divisor(images, numpy)
    found = brightness(divided) if scale is BRIGHT else divided.max()
    assert found == pytest.approx(scale.level, rel=1e-5)
  assert UNSCALED.divisor(images, numpy) == 1


@pytest.mark.parametrize("numpy", [np, jnp])
def test_volumes_with_little_or_no_signal(numpy):
  images = np.zeros((2, 24, 20), np.float32)
  for scale in (BRIGHT, LARGEST, UNSCALED):
    assert scale.divisor(images, numpy) == 1
  images[0, 3, 4] = 7
  assert BRIGHT.divisor(images, numpy) == LARGEST.divisor(images, numpy) == 7


def test_one_bright_pixel_changes_little():
  images = volume()
  before = BRIGHT.divisor(images)
  images[0, 0, 0] *= 1e4
  assert BRIGHT.divisor(images) == pytest.approx(before, rel=0.05)


def test_the_level_of_a_training():
  config = config_lib.parse(tiny_config()).data
  images = [volume(seed=k) / 700 for k in range(4)]
  found = [traits.of_slices(each) for each in images]
  owners = np.repeat(["a", "b", "c", "d"], 5)
  summary = traits.summary(np.concatenate(found), owners)
  record = {"inputs": {"": summary, "other": None}}
  scale = input_scale.of_training(config, record)
  assert scale.statistic == "brightness"
  assert scale.level == pytest.approx(brightness(np.concatenate(images)), rel=0.05)
  alone = traits.summary(found[0], ["a"] * 5)
  scale = input_scale.of_training(config, {"inputs": {"": alone}})
  assert scale.level == pytest.approx(brightness(images[0]), rel=0.05)
  for other in ({}, {"inputs": {}}, {"given_inputs": True, **record}):
    assert input_scale.of_training(config, other) == LARGEST
  assert input_scale.of_training(config, record, "other") == LARGEST
  summary = {**summary, "traits": ["of another version"]}
  assert input_scale.of_training(config, {"inputs": {"": summary}}) == LARGEST
  unscaled = dataclasses.replace(config, scaling="none")
  assert input_scale.of_training(unscaled, record) == UNSCALED
