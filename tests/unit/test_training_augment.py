"""Augmentation: what belongs together is treated alike, and everything comes up."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from helpers.data_files import all_sampled
from helpers.tiny import tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.config import AugmentConfig
from kdmri_jax.errors import UserError
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.training import augment
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_networks import Networks, vary
from kdmri_jax.types import Acquisition, Slices

pytestmark = pytest.mark.usefixtures("quick_compilation")

DRAWS = jnp.arange(200, dtype=jnp.uint32)
RNG = np.random.default_rng(3)
SQUARE = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)


def varied(networks):
  return jax.jit(functools.partial(vary, networks))


def changed(images, draws, config):
  change = functools.partial(
    augment.change, config=config, following=augment.next_image
  )
  return jax.jit(change)((images,), draws)[0]


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
  (patches,) = jax.jit(lambda x: augment.cut((x,), DRAWS, (3, 4)))(images)
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
  batch = varied(networks)(Slices(target), Acquisition(mask), DRAWS[:4])
  kspace = np.fft.fft2(batch.target[..., 0], norm="ortho") * mask
  np.testing.assert_allclose(batch.measurement.kspace, kspace, atol=1e-5)
  assert (np.asarray(batch.target) != target).any()


def linear_in_float64(image, linear):
  """`augment.deform` of one image [H, W, C], pixel by pixel."""
  height, width, _ = image.shape
  middle = np.array([height - 1, width - 1]) / 2
  padded = np.pad(np.float64(image), ((1, 1), (1, 1), (0, 0)))
  found = np.zeros(image.shape)
  for place in np.ndindex(height, width):
    row, column = np.float64(linear) @ (place - middle) + middle + 1
    if 0 <= row <= height + 1 and 0 <= column <= width + 1:
      k, m = min(int(row), height), min(int(column), width)
      y, x = row - k, column - m
      upper = (1 - x) * padded[k, m] + x * padded[k, m + 1]
      lower = (1 - x) * padded[k + 1, m] + x * padded[k + 1, m + 1]
      found[place] = (1 - y) * upper + y * lower
  return found


@pytest.mark.parametrize("channels", [1, 2])
def test_shapes_change_as_in_float64(channels):
  images = RNG.normal(size=(20, 9, 12, channels)).astype(np.float32)
  config = AugmentConfig(degrees=40, scale=0.5, shear=0.3)
  linear = jax.jit(augment.deformations, static_argnums=1)(DRAWS[:20], config)
  found = jax.jit(augment.deform)(images, linear)
  for image, own, result in zip(images, linear, found, strict=True):
    np.testing.assert_allclose(result, linear_in_float64(image, own), atol=2e-5)
  kept = np.all(np.asarray(linear) == np.eye(2), axis=(1, 2))
  assert 5 <= kept.sum() <= 15
  np.testing.assert_array_equal(found[kept], images[kept])


def test_a_quarter_turn_by_its_angle_is_that_of_the_pixels():
  image = RNG.random((1, 7, 7, 1)).astype(np.float32)
  quarter = jnp.array([[[0.0, 1.0], [-1.0, 0.0]]])
  turned = jax.jit(augment.deform)(image, quarter)
  np.testing.assert_array_equal(turned[0], np.rot90(image[0]))


@pytest.mark.parametrize(
  ("config", "of_matrix", "limit"),
  [
    ({"degrees": 10}, lambda m: np.rad2deg(np.arctan2(m[:, 1, 0], m[:, 0, 0])), 10),
    ({"scale": 0.25}, lambda m: np.log(m[:, 0, 0]), np.log(1.25)),
    ({"shear": 0.2}, lambda m: m[:, 1, 0], 0.2),
  ],
)
def test_each_limit_of_shape_is_reached_and_kept(config, of_matrix, limit):
  draw = jax.jit(augment.deformations, static_argnums=1)
  linear = np.asarray(draw(DRAWS, AugmentConfig(**config)))
  if "degrees" in config:
    np.testing.assert_allclose(np.linalg.det(linear), 1, rtol=1e-5)
  values = of_matrix(linear)
  values = values[values != 0]
  assert 0.4 < len(values) / len(DRAWS) < 0.6
  assert -limit <= values.min() < -0.9 * limit and 0.9 * limit < values.max() <= limit
  assert abs(values.mean()) < 0.2 * limit


def test_intensities_change_as_in_float64_and_keep_range_and_phase():
  parts = RNG.normal(size=(40, 8, 6, 2)).astype(np.float32)
  parts[:, :2] = 0
  factors, exponents = augment.intensities(DRAWS[:40], AugmentConfig(gain=0.3, gamma=1))
  assert 0.7 <= factors.min() < 0.75 and 0.95 < factors.max() <= 1
  assert 0.5 <= exponents.min() < 0.6 and 1.8 < exponents.max() <= 2
  for images in (np.abs(parts[..., :1]), parts):
    (found,) = jax.jit(augment.shade)((images,), factors, exponents)
    found = np.float64(found)
    before = np.linalg.norm(np.float64(images), axis=-1)
    largest = before.max(axis=(1, 2), keepdims=True)
    factor, exponent = (np.float64(x)[:, None, None] for x in (factors, exponents))
    expected = factor * largest * (before / largest) ** exponent
    after = np.linalg.norm(found, axis=-1)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    assert (after <= largest * (1 + 1e-6)).all()
    np.testing.assert_allclose(
      found * before[..., None], images * after[..., None], atol=1e-4
    )
  (dark,) = jax.jit(augment.shade)(
    (np.zeros((1, 4, 4, 1), np.float32),), factors[:1], exponents[:1]
  )
  np.testing.assert_array_equal(dark, 0)


@pytest.fixture(scope="module")
def shares():
  """Of 2000 slices, at mixup 0.4."""
  draw = jax.jit(augment.shares, static_argnums=1)
  return np.float64(draw(jnp.arange(2000, dtype=jnp.uint32), 0.4))


def test_shares_have_the_distribution_of_mixup(shares):
  assert scipy.stats.kstest(shares, "beta", (0.4, 0.4)).pvalue > 0.01


def test_the_kspace_of_a_mixture_is_the_mixture_of_kspaces(shares):
  parts = RNG.random((3, 10, 8, 2)).astype(np.float32)
  networks = Networks(None, (), augment=AugmentConfig(mixup=0.4))
  mask = (RNG.random((1, 10, 8)) < 0.4).astype(np.uint8)
  batch = varied(networks)(Slices(parts), Acquisition(mask), DRAWS[:3])
  own = shares[:3, None, None]

  def mixture(images):
    kspaces = np.fft.fft2(np.complex128(images), norm="ortho") * mask
    return own * kspaces + (1 - own) * np.roll(kspaces, -1, axis=0)

  expected = mixture(parts.view(np.complex64)[..., 0])
  np.testing.assert_allclose(batch.measurement.kspace, expected, atol=2e-6)
  np.testing.assert_array_equal(batch.measurement.mask, mask[0])
  real = parts[..., :1]
  mixed = augment.mix(real, augment.next_image(real), jnp.float32(shares[:3]))
  _, measurement = undersample(mixed, mask[0])
  expected = mixture(real[..., 0])
  np.testing.assert_allclose(measurement.kspace, expected, atol=2e-6)


def test_magnitudes_keep_their_range_and_draws_depend_on_the_slice_alone():
  images = RNG.random((6, 10, 12, 1)).astype(np.float32)
  config = AugmentConfig(degrees=30, scale=0.3, shear=0.2, gain=0.5, gamma=0.5)
  whole = np.asarray(changed(images, DRAWS[:6], config))
  assert whole.shape == images.shape
  assert whole.min() >= 0 and whole.max() <= images.max()
  part = changed(images[2:4], DRAWS[2:4], config)
  np.testing.assert_allclose(part, whole[2:4], atol=1e-6)


def test_patches_are_cut_from_changed_slices():
  target = RNG.random((4, 12, 10, 1)).astype(np.float32)
  config = AugmentConfig(patch=(8, 8), gain=0.5, degrees=20)
  networks = Networks(None, (), augment=config)
  acquisition = Acquisition(np.ones((1, 12, 10), np.uint8))
  batch = varied(networks)(Slices(target), acquisition, DRAWS[:4])
  whole = changed(target, DRAWS[:4], config)
  (expected,) = augment.cut((whole,), DRAWS[:4], (8, 8))
  np.testing.assert_allclose(batch.target, expected, atol=1e-6)
  np.testing.assert_allclose(batch.zero_filled, expected, atol=1e-5)


def test_without_changes_a_step_is_that_of_before():
  target = RNG.random((4, 6, 6, 1)).astype(np.float32)
  assert not AugmentConfig().varies
  for name in ("degrees", "scale", "shear", "gain", "gamma", "mixup"):
    assert AugmentConfig(**{name: 0.5}).varies
  (same,) = augment.change((target,), DRAWS[:4], AugmentConfig(), pytest.fail)
  assert same is target


def test_a_stage_may_have_changes_of_its_own(tmp_path):
  config = tiny_config(devices=1)
  config.augment.flips = True
  config.stages.kd.augment.mixup = 0.5
  plans = make(tmp_path, config).plans.networks
  assert plans["kd"].augment == AugmentConfig(mixup=0.5)
  assert plans["student"].augment == AugmentConfig(flips=True)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"batch_size": 1}, r"^config.stages.kd.augment.mixup: found 0.5, with batches of"),
    (
      {"stages.kd.augment.patch": (4, 4)},
      r"^config.stages.kd.augment.patch: found \(4",
    ),
  ],
)
def test_refuses(tmp_path, changes, message):
  config = tiny_config(devices=1)
  config.stages.kd.augment.mixup = 0.5
  config.update_from_flattened_dict(changes)
  with pytest.raises(UserError, match=message):
    make(tmp_path, config)


def make(path, config):
  return Experiment(config_lib.parse(config), path)


EDSR = {"network": "edsr", "blocks": 1, "features": 4}
NOISY = {"models": {"teacher": EDSR, "student": EDSR}, "noise.snr": (10.0, 20.0)}
PATCHES = {"flips": True, "rotations": True, "patch": (12, 12)}
CHANGES = {"flips": True, "degrees": 10, "scale": 0.1, "shear": 0.1}
CHANGES |= {"gain": 0.2, "gamma": 0.2, "mixup": 0.4}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("augmented", "more"),
  [(PATCHES, NOISY), (CHANGES, {})],
  ids=["noisy patches", "changes"],
)
def test_training_gives_the_same_on_two_devices(tmp_path, augmented, more):
  """The teacher sees what the student sees, and mixtures reach across devices."""
  values = []
  for devices in (1, 2):
    config = tiny_config(epochs=1, devices=devices)
    config.augment.update(augmented)
    config.update_from_flattened_dict(more)
    config.stages.kd.start_from = ""
    config.pipeline = ("teacher", "kd")
    config.evaluation.update(models=("teacher", "kd"), student="kd", distilled=())
    pipeline = make(tmp_path / str(devices), config)
    train(pipeline)
    values.append(pipeline.progress("kd").best_value)
  assert values[0] == pytest.approx(values[1], rel=1e-4)


@pytest.mark.parametrize(
  "changes",
  [
    {"flips": True, "rotations": True, "patch": (8, 8)},
    {"flips": True, "degrees": 20.0, "scale": 0.2, "shear": 0.1},
    {"gain": 0.5, "gamma": 0.4},
    {"mixup": 0.5},
  ],
)
def test_input_and_target_are_varied_alike(changes):
  """Where the input is the target itself, it stays so."""
  size = (12, 12)
  target = np.random.default_rng(0).random((6, *size, 1)).astype(np.float32)
  networks = Networks(None, (), augment=AugmentConfig(**changes))
  in_patches = "patch" in changes
  slices = Slices(target, input=target, given={"image": target} if in_patches else None)
  draws = jnp.arange(6, dtype=jnp.uint32)
  batch = varied(networks)(slices, all_sampled(size), draws)
  assert batch.target.shape != target.shape or not np.allclose(batch.target, target)
  np.testing.assert_allclose(batch.zero_filled, batch.target, atol=1e-5)
  if in_patches:  # and the image of a teacher, too
    np.testing.assert_array_equal(batch.given["image"], batch.target)
  alone = varied(networks)(slices._replace(input=None), all_sampled(size), draws)
  np.testing.assert_allclose(batch.target, alone.target, atol=1e-5)


def test_gamma_has_one_curve_for_input_and_target():
  target = np.float32([[0.2, 0.8]]).reshape(1, 1, 2, 1)
  given = np.float32([[0.8, 0.4]]).reshape(1, 1, 2, 1)
  networks = Networks(None, (), augment=AugmentConfig(gamma=1.0))
  draws = jnp.arange(1, dtype=jnp.uint32)
  batch = varied(networks)(Slices(target, input=given), all_sampled((1, 2)), draws)
  exponent = np.log(batch.target[0, 0, 0, 0] / 0.8) / np.log(0.2 / 0.8)
  assert abs(exponent - 1) > 0.01
  assert batch.zero_filled[0, 0, 0, 0] == pytest.approx(0.8, abs=1e-6)
  expected = 0.8 * 0.5**exponent
  assert batch.zero_filled[0, 0, 1, 0] == pytest.approx(expected, abs=1e-5)
