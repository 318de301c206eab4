"""Lengths, directions and embeddings of activations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.distilling import activations, pooled, value

from kdmri_jax.distillation import METHODS, _vectors

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_unit_and_norm_of_zero_have_no_gradient():
  x = jnp.array([[3.0, 4.0], [0.0, 0.0], [1e-13, 0.0]])
  np.testing.assert_allclose(_vectors.norm(x)[:, 0], [5, 0, 0], atol=1e-6)
  np.testing.assert_allclose(_vectors.unit(x), [[0.6, 0.8], [0, 0], [0, 0]], atol=1e-7)
  for function in (_vectors.norm, _vectors.unit):
    gradient = jax.jit(jax.jacobian(function))(x)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[1:] == 0).all()


def test_one_silent_image_keeps_gradients_of_a_moderate_size():
  """A direction divided by a small number would make them 1e12."""
  student, teacher = activations(0).at[1].set(0), activations(1)
  for name in ("similarity_preserving", "pkt", "rkd", "nst", "feature_affinity"):
    (variant,) = METHODS[name]
    measure = functools.partial(value, name, variant)
    differentiate = jax.jit(jax.grad(lambda s, m=measure: m((s,), (teacher,))))
    gradient = differentiate(student)
    assert 0 < np.abs(gradient).max() < 10, name


@pytest.mark.parametrize("size", [(37, 12), (32, 48)])
def test_large_maps_are_averaged_before_they_are_embedded(size):
  feature = activations(0, (2, *size, 3))
  (embedding,) = _vectors.embed((feature,))
  side = tuple(min(16, length) for length in size)
  expected = [pooled(image, side).ravel() for image in feature]
  np.testing.assert_allclose(embedding, expected, rtol=1e-5, atol=1e-6)
