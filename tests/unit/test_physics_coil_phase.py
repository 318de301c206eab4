"""The phase that images without one get."""

import numpy as np
import pytest
import scipy.stats

import kdmri_jax as kd
from kdmri_jax.errors import ArgumentError

IMAGES = np.random.default_rng(5).uniform(0.1, 1, (400, 9, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def fits():
  """The coefficients of 1, x, y, x^2, xy and y^2, of each phase [6, 400]."""
  angles = np.angle(np.complex128(kd.coils.add_phase(IMAGES, 2.0)))
  angles = np.unwrap(np.unwrap(angles, axis=1), axis=2).reshape(len(IMAGES), -1)
  x, y = np.meshgrid(np.linspace(-1, 1, 7), np.linspace(-1, 1, 9))
  terms = np.stack([each.ravel() for each in (x**0, x, y, x**2, x * y, y**2)], -1)
  found = np.linalg.lstsq(terms, angles.T, rcond=None)[0]
  np.testing.assert_allclose(terms @ found, angles.T, atol=1e-5)
  return found


def test_it_is_a_constant_and_a_bounded_polynomial_of_second_degree(fits):
  constants, bounds = fits[0] % (2 * np.pi), np.abs(fits[1:]).sum(0)
  assert scipy.stats.kstest(constants, "uniform", (0, 2 * np.pi)).pvalue > 0.01
  assert scipy.stats.kstest(bounds, "uniform", (0, 2)).pvalue > 0.01
  assert (np.abs(fits[1:].mean(1)) < 0.1).all()


def test_magnitudes_stay_and_the_draw_depends_on_the_image_alone():
  found = kd.coils.add_phase(IMAGES, 3.0)
  assert found.dtype == np.complex64
  np.testing.assert_allclose(np.abs(found), IMAGES, rtol=1e-6)
  np.testing.assert_array_equal(kd.coils.add_phase(IMAGES[7:9], 3.0), found[7:9])
  shares = np.angle(kd.coils.add_phase(IMAGES[:50], 0.0))
  np.testing.assert_allclose(shares - shares[:, :1, :1], 0, atol=1e-6)


@pytest.mark.parametrize(
  ("images", "most", "message"),
  [
    (IMAGES[0], 1.0, r"images: found .*; expected real ones \[S, H, W\]"),
    (IMAGES + 0j, 1.0, "images: found .*complex"),
    (IMAGES, -1.0, "most: found -1.0; expected a number of at least 0"),
    (IMAGES, np.nan, "most: found nan"),
  ],
)
def test_refuses(images, most, message):
  with pytest.raises(ArgumentError, match=message):
    kd.coils.add_phase(images, most)
