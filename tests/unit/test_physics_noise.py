"""Noise in k-space: its size, its distribution, its independence, what it leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from kdmri_jax.physics import noise
from kdmri_jax.physics.masks import recipes
from kdmri_jax.physics.undersample import undersample, zero_fill

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHAPE = (96, 80)
DRAWS = jnp.arange(3, dtype=jnp.uint32)


add = jax.jit(noise.add)


def targets():
  """Half air, half tissue of mean 0.5, 0.25 and 1."""
  tissue = np.zeros((3, *SHAPE, 1), np.float32)
  tissue[:, :, 20:60] = np.array([0.5, 0.25, 1.0])[:, None, None, None]
  return jnp.asarray(tissue)


def measured(target, mask, snr):
  _, clean = undersample(target, mask)
  return clean, add(clean, target, jnp.full(3, snr), DRAWS)


def test_signal_leaves_air_out():
  np.testing.assert_allclose(noise.signal(targets()), [0.5, 0.25, 1.0], rtol=1e-6)
  assert noise.signal(jnp.zeros((1, 4, 4, 1))) == 0
  both = jnp.concatenate([0.6 * targets(), 0.8 * targets()], axis=-1)
  np.testing.assert_allclose(noise.signal(both), [0.5, 0.25, 1.0], rtol=1e-6)


@pytest.mark.parametrize("snr", [5.0, 20.0])
def test_the_deviation_is_the_one_asked_for(snr):
  target = targets()
  clean, noisy = measured(target, jnp.ones(SHAPE), snr)
  expected = np.array([0.5, 0.25, 1.0]) / snr
  difference = np.asarray(noisy.kspace - clean.kspace)
  for part in (difference.real, difference.imag):
    np.testing.assert_allclose(part.std(axis=(1, 2)), expected, rtol=0.03)
    standardised = part / expected[:, None, None]
    assert scipy.stats.kstest(standardised.ravel(), "norm").pvalue > 1e-3
  correlation = np.corrcoef(difference.real.ravel(), difference.imag.ravel())[0, 1]
  assert abs(correlation) < 0.02


def test_magnitudes_are_rician():
  target = targets()
  _, noisy = measured(target, jnp.ones(SHAPE), 4.0)
  magnitude = np.asarray(zero_fill(noisy, 1))[2, :, :, 0]
  tissue = scipy.stats.rice(b=4.0, scale=0.25)
  assert scipy.stats.kstest(magnitude[:, 20:60].ravel(), tissue.cdf).pvalue > 1e-3
  air = scipy.stats.rayleigh(scale=0.25)
  outside = np.delete(magnitude, np.s_[20:60], axis=1)
  assert scipy.stats.kstest(outside.ravel(), air.cdf).pvalue > 1e-3


def test_what_was_not_sampled_stays_zero():
  mask = jnp.asarray(recipes.cartesian(SHAPE, 4, 8, 0, 0))
  _, noisy = measured(targets(), mask, 10.0)
  assert not np.asarray(noisy.kspace)[:, np.asarray(mask) == 0].any()
  assert np.asarray(noisy.kspace)[:, np.asarray(mask) == 1].all()


def test_no_noise_at_an_infinite_ratio_and_in_an_empty_image():
  clean, same = measured(targets(), jnp.ones(SHAPE), jnp.inf)
  np.testing.assert_array_equal(same.kspace, clean.kspace)
  clean, same = measured(jnp.zeros_like(targets()), jnp.ones(SHAPE), 5.0)
  np.testing.assert_array_equal(same.kspace, clean.kspace)


def test_the_noise_of_an_image_depends_on_its_own_number():
  target = targets()
  _, noisy = measured(target, jnp.ones(SHAPE), 10.0)
  _, clean = undersample(target[1:2], jnp.ones(SHAPE))
  alone = add(clean, target[1:2], jnp.full(1, 10.0), DRAWS[1:2])
  np.testing.assert_allclose(alone.kspace[0], noisy.kspace[1], atol=1e-6)
  other = add(clean, target[1:2], jnp.full(1, 10.0), DRAWS[2:3])
  assert (np.asarray(other.kspace) != np.asarray(alone.kspace)).all()


def test_ratios_are_uniform_and_belong_to_their_image():
  draws = jnp.arange(2000, dtype=jnp.uint32)
  snr = np.asarray(noise.draw_snr(draws, 5.0, 25.0))
  uniform = scipy.stats.uniform(5.0, 20.0)
  assert scipy.stats.kstest(snr, uniform.cdf).pvalue > 1e-3
  np.testing.assert_array_equal(noise.draw_snr(draws[7:9], 5.0, 25.0), snr[7:9])
  assert np.isinf(noise.draw_snr(draws[:2], np.inf, np.inf)).all()
