"""Perturbations of k-space: their bound, where they are, and the worst one."""

import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.physics import perturbation
from kdmri_jax.types import CoilMeasurement, Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHAPE = (6, 5)
DRAWS = jnp.arange(3, dtype=jnp.uint32)
POINTS = np.random.default_rng(1).random(SHAPE) < 0.5


def measurement():
  rng = np.random.default_rng(0)
  kspace = rng.normal(size=(3, *SHAPE)) + 1j * rng.normal(size=(3, *SHAPE))
  kspace[2] = 0  # a slice without signal
  return Measurement(jnp.asarray(kspace * POINTS, jnp.complex64), POINTS)


def norms(array):
  return np.linalg.norm(np.asarray(array).reshape(len(array), -1), axis=1)


def linear(seed=2):
  """A matrix for k-space in float64, and its error as a function of k-space.

  The error is the squared distance from the reconstruction of unperturbed k-space.
  """
  rng = np.random.default_rng(seed)
  size = np.prod(SHAPE)
  matrix = rng.normal(size=(8, size)) + 1j * rng.normal(size=(8, size))

  def error(kspace):
    shift = (kspace - measurement().kspace).reshape(len(kspace), -1)
    image = jnp.matmul(shift, jnp.asarray(matrix.T, jnp.complex64), precision="highest")
    return jnp.sum(jnp.square(jnp.abs(image)), axis=1)

  return matrix, error


def test_a_random_perturbation_has_its_norm_and_lies_on_the_samples():
  measured = measurement()
  found = perturbation.random(measured, 0.05, DRAWS)
  np.testing.assert_allclose(norms(found), 0.05 * norms(measured.kspace), rtol=1e-5)
  assert not np.asarray(found)[:, ~POINTS].any() and np.all(np.isfinite(found))
  again = perturbation.random(measured, 0.05, DRAWS)
  np.testing.assert_array_equal(found, again)
  other = perturbation.random(measured, 0.05, DRAWS + 1)
  assert np.abs(found[0] - other[0]).max() > 0.01
  np.testing.assert_array_equal(  # an image's draw does not depend on its batch
    found[1:2], perturbation.random(measurement_of(1), 0.05, DRAWS[1:2])
  )


def test_all_coils_share_the_mask_of_their_image():
  points = np.stack([POINTS, ~POINTS, POINTS])
  kspace = jnp.ones((3, 2, *SHAPE), jnp.complex64) * points[:, None]
  measured = CoilMeasurement(kspace, points, jnp.ones_like(kspace))
  found = perturbation.random(measured, 0.1, DRAWS)
  np.testing.assert_allclose(norms(found), 0.1 * norms(kspace), rtol=1e-5)
  assert np.array_equal(np.asarray(found) != 0, np.asarray(kspace) != 0)


def measurement_of(number):
  measured = measurement()
  return measured._replace(kspace=measured.kspace[number : number + 1])


@pytest.mark.parametrize("size", [0.01, 0.3])
def test_the_worst_case_of_a_linear_network_is_its_leading_singular_vector(size):
  """The largest |A d|^2 with |d| <= r is (r s1)^2, along the first right vector."""
  measured, (matrix, error) = measurement(), linear()
  found = perturbation.worst_case(error, measured, size, DRAWS, steps=60)
  _, values, vectors = np.linalg.svd(matrix[:, POINTS.ravel()])
  radius = size * norms(measured.kspace)
  reached = np.asarray(error(measured.kspace + found), np.float64)
  np.testing.assert_allclose(reached, (radius * values[0]) ** 2, rtol=1e-3)
  along = np.asarray(found)[:2, POINTS] @ vectors[0]
  np.testing.assert_allclose(np.abs(along), radius[:2], rtol=1e-3)


@pytest.mark.parametrize("steps", [1, 7])
def test_no_search_leaves_the_ball_the_samples_or_the_random_start(steps):
  measured = measurement()

  def error(kspace):  # not concave, not convex
    return jnp.sum(jnp.sin(3 * jnp.abs(kspace) ** 2), axis=(1, 2))

  start = perturbation.random(measured, 0.4, DRAWS)
  found = perturbation.worst_case(error, measured, 0.4, DRAWS, steps=steps)
  assert np.all(norms(found) <= 0.4 * norms(measured.kspace) * (1 + 1e-5))
  assert not np.asarray(found)[:, ~POINTS].any()
  worse = error(measured.kspace + found) >= error(measured.kspace + start)
  assert worse.all() and np.all(np.isfinite(found))
  alone = perturbation.worst_case(
    error, measurement_of(1), 0.4, DRAWS[1:2], steps=steps
  )
  np.testing.assert_allclose(found[1:2], alone, atol=1e-5)
