"""Augmentation: what belongs together is treated alike, and everything comes up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.config import AugmentConfig
from kdmri_jax.training import augment
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_networks import Networks, vary
from kdmri_jax.types import Acquisition, Slices

DRAWS = jnp.arange(200, dtype=jnp.uint32)
SQUARE = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)


def symmetries(config):
  """How often each symmetry of a square comes up."""
  images = jnp.repeat(SQUARE, len(DRAWS), axis=0)
  (turned,) = jax.jit(lambda x: augment.turn((x,), DRAWS, config))(images)
  return np.unique(
    np.asarray(turned).reshape(len(DRAWS), -1), axis=0, return_counts=True
  )


@pytest.mark.parametrize(
  ("flips", "rotations", "kinds"),
  [(False, False, 1), (True, False, 4), (False, True, 4), (True, True, 8)],
)
def test_all_symmetries_come_up_alike(flips, rotations, kinds):
  found, counts = symmetries(AugmentConfig(flips, rotations, (0, 0)))
  assert len(found) == kinds
  assert counts.min() > len(DRAWS) / kinds / 2
  quarter = {tuple(np.rot90(SQUARE[0, ..., 0], k).ravel()) for k in range(4)}
  if rotations and not flips:
    assert {tuple(each) for each in found} == quarter


def test_input_and_target_are_turned_and_cut_alike():
  rng = np.random.default_rng(0)
  target = jnp.asarray(rng.random((200, 12, 10, 1), np.float32))
  networks = Networks(None, (), augment=AugmentConfig(True, True, (8, 8)))
  acquisition = Acquisition(np.ones((1, 12, 10), np.uint8))
  batch = jax.jit(lambda x: vary(networks, Slices(x), acquisition, DRAWS))(target)
  assert batch.target.shape == (200, 8, 8, 1)
  assert batch.measurement is None
  np.testing.assert_allclose(batch.zero_filled, batch.target, atol=1e-5)


def test_patches_come_from_everywhere():
  place = np.arange(35, dtype=np.float32).reshape(1, 5, 7, 1)
  images = jnp.repeat(place, len(DRAWS), axis=0)
  (patches,) = augment.cut((images,), DRAWS, (3, 4))
  corners = set(np.asarray(patches)[:, 0, 0, 0].tolist())
  assert corners == {7.0 * row + column for row in range(3) for column in range(4)}
  np.testing.assert_array_equal(
    patches[0, :, :, 0] - patches[0, 0, 0, 0], place[0, :3, :4, 0]
  )


def test_whole_slices_are_turned_before_they_are_measured():
  target = np.random.default_rng(0).random((4, 6, 6, 1)).astype(np.float32)
  networks = Networks(None, (), augment=AugmentConfig(True, False, (0, 0)))
  mask = np.ones((1, 6, 6), np.uint8)
  mask[:, 2:5] = 0
  batch = vary(networks, Slices(target), Acquisition(mask), DRAWS[:4])
  kspace = np.fft.fft2(batch.target[..., 0], norm="ortho") * mask
  np.testing.assert_allclose(batch.measurement.kspace, kspace, atol=1e-5)
  assert (np.asarray(batch.target) != target).any()


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.slow
def test_training_on_patches_gives_the_same_on_two_devices(tmp_path):
  values = []
  for devices in (1, 2):
    config = tiny_config(epochs=1, devices=devices)
    config.models = {
      role: {"network": "edsr", "blocks": 1, "features": 4}
      for role in ("teacher", "student")
    }
    config.augment.update(flips=True, rotations=True, patch=(12, 12))
    config.noise.snr = (10.0, 20.0)
    config.stages.kd.start_from = ""
    config.pipeline = ("teacher", "kd")
    config.evaluation.update(models=("teacher", "kd"), student="kd", distilled=())
    pipeline = Experiment(config_lib.parse(config), tmp_path / str(devices))
    train(pipeline)
    values.append(pipeline.progress("kd").best_value)
  assert values[0] == pytest.approx(values[1], rel=1e-4)
