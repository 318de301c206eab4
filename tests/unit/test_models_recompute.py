"""Activations that the gradient computes again: the same numbers in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.models import features
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.varnet import VarNet
from kdmri_jax.ops import native
from kdmri_jax.physics.undersample import undersample
from kdmri_jax.types import CoilMeasurement, Measurement

NETWORKS = {
  "D2C2": (DCCNN(cascades=2, convolutions=2, features=8), "cascade_2/activation_1"),
  "shared": (DCCNN(2, 3, 8, shared=True), "cascade_2/activation_2"),
  "padded": (DCCNN(2, 2, 8, padding=2, variant="reference"), "cascade_1/activation_2"),
  "VarNet": (VarNet(2, 2, 1, 2, 1), "cascade_1/unet/down_1/activation_2"),
}


def simulated(shape=(2, 16, 12)):
  rng = np.random.default_rng(0)
  target = jnp.asarray(rng.random((*shape, 1), np.float32))
  mask = np.ones(shape[1:], np.uint8) * (rng.random((shape[1], 1)) < 0.5)
  mask[:2] = mask[-2:] = 1
  return target, *undersample(target, mask)


def close(found, expected):
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_features_and_gradients_stay(name):
  model, hint = NETWORKS[name]
  target, *given = simulated()

  def loss(params, model):
    outputs, sown = features.apply(model, params, *given)
    error = jnp.square(outputs.image - target).mean() + jnp.abs(sown[hint]).mean()
    return error, sown

  def run(model):
    params = jax.jit(model.init)(jax.random.key(1), *given)["params"]
    gradient = jax.value_and_grad(loss, has_aux=True)
    return params, jax.jit(gradient, static_argnums=1)(params, model)

  assert not model.recompute
  expected, found = run(model), run(model.clone(recompute=True))
  jax.tree.map(np.testing.assert_array_equal, found[0], expected[0])
  jax.tree.map(close, found[1], expected[1])


@pytest.mark.usefixtures("quick_compilation")
def test_the_gradient_works_without_jit():
  model, _ = NETWORKS["D2C2"]
  _, *given = simulated((1, 8, 6))
  params = jax.jit(model.init)(jax.random.key(1), *given)["params"]

  def gradient(model):
    def error(params):
      return jnp.abs(model.apply({"params": params}, *given).image).sum()

    return jax.grad(error)(params)

  jax.tree.map(close, gradient(model.clone(recompute=True)), gradient(model))


def temporary_mb(model, coils=()):
  """XLA's own account of the gradient for one image of 640x368."""
  size, shape = (640, 368), jax.ShapeDtypeStruct
  image = shape((1, *size, model.channels), jnp.float32)
  kspace, mask = shape((1, *coils, *size), jnp.complex64), shape(size, jnp.uint8)
  measurement = CoilMeasurement(kspace, mask, kspace)
  if not coils:
    measurement = Measurement(kspace, mask)
  params = jax.eval_shape(model.init, jax.random.key(0), image, measurement)["params"]

  def error(params, image, measurement, target):
    found = model.apply({"params": params}, image, measurement).image
    return jnp.abs(found - target).mean()

  lowered = jax.jit(jax.grad(error)).lower(params, image, measurement, image)
  return lowered.compile().memory_analysis().temp_size_in_bytes / 1e6


def test_a_students_step_needs_a_third_of_the_memory():
  student = DCCNN(convolutions=3)
  before, after = map(temporary_mb, (student, student.clone(recompute=True)))
  assert after < 0.45 * before
  if native.instructions():
    assert after < 150


@pytest.mark.skipif(native.instructions() is None, reason="no native code was built")
@pytest.mark.parametrize(("form", "most"), [("gradient", 450), ("proximal", 900)])
def test_fifteen_coils_need_a_bounded_memory(form, most):
  """K-space and sensitivities alone are 57 MB."""
  student = DCCNN(convolutions=3, channels=2, consistency=form, lam=10.0)
  assert temporary_mb(student, (15,)) < most
