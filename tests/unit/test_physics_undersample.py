"""The simulated measurement against NumPy in double precision and golden numbers."""

import jax
import numpy as np
import pytest

from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics.masks import recipes
from kdmri_jax.physics.undersample import undersample

measure = jax.jit(undersample)
MASK = recipes.cartesian((12, 9), 3, 2, 0, 0)


def oracle(target, mask):
  kspace = mask * np.fft.fft2(target, norm="ortho")
  return kspace, np.fft.ifft2(kspace, norm="ortho")


def images(channels):
  return np.random.default_rng(0).random((3, 12, 9, channels), np.float32)


def test_real_images_give_the_magnitude():
  target = images(1)
  kspace, image = oracle(target[..., 0], MASK)
  zero_filled, measurement = measure(target, MASK)
  assert zero_filled.dtype == np.float32
  assert measurement.kspace.dtype == np.complex64
  np.testing.assert_allclose(measurement.kspace, kspace, atol=2e-6)
  np.testing.assert_allclose(zero_filled, np.abs(image)[..., None], atol=1e-6)
  np.testing.assert_array_equal(measurement.mask, MASK)


def test_complex_images_keep_both_parts():
  target = images(2)
  kspace, image = oracle(target[..., 0] + 1j * target[..., 1], MASK)
  zero_filled, measurement = measure(target, MASK)
  np.testing.assert_allclose(measurement.kspace, kspace, atol=2e-6)
  np.testing.assert_allclose(
    zero_filled, np.stack([image.real, image.imag], -1), atol=1e-6
  )


def test_a_mask_for_each_sample():
  target = images(1)
  each = np.stack([recipes.cartesian((12, 9), 3, 2, 1, seed) for seed in range(3)])
  together, measurement = measure(target, each)
  assert not np.asarray(measurement.kspace)[each == 0].any()
  for b in range(3):
    alone, _ = measure(target[b : b + 1], each[b])
    np.testing.assert_allclose(together[b], alone[0], atol=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.float32, np.int8])
def test_mask_type_does_not_matter_and_jit_agrees(dtype):
  eager, _ = undersample(images(1), MASK)
  traced, _ = measure(images(1), MASK.astype(dtype))
  np.testing.assert_allclose(traced, eager, atol=1e-6)


def test_full_sampling_gives_the_target_back():
  zero_filled, _ = measure(images(1), np.ones((12, 9)))
  np.testing.assert_allclose(zero_filled, images(1), atol=1e-6)


@pytest.mark.parametrize("name", ["recon_48x40_rows", "recon_36x50_cols"])
def test_golden_measurement(golden, name):
  numbers = golden(name)
  zero_filled, measurement = measure(numbers["target"][..., None], numbers["mask"])
  np.testing.assert_allclose(measurement.kspace, numbers["kspace"], atol=2e-6)
  np.testing.assert_allclose(zero_filled[..., 0], numbers["zero_filled"], atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 12), (2, 12, 9), (12,), (1, 3, 12, 9)])
def test_a_mask_of_another_size_is_refused(shape):
  with pytest.raises(ArgumentError, match=r"^mask: found shape"):
    undersample(images(1), np.ones(shape))
