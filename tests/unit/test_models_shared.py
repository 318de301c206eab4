"""A DC-CNN whose cascades share their weights, and what networks cost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.experiments import shapes
from kdmri_jax.models import (
  DCCNN,
  EDSR,
  VDSR,
  SwinIR,
  branches,
  contract,
  cost,
  features,
)
from kdmri_jax.physics.undersample import undersample

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHARED = DCCNN(cascades=2, convolutions=3, features=4, shared=True)
APART = SHARED.clone(shared=False)


@functools.cache
def batch():
  rng = np.random.default_rng(0)
  mask = np.zeros((12, 10), np.uint8)
  mask[::2] = 1
  return undersample(jnp.asarray(rng.random((2, 12, 10, 1), np.float32)), mask)


@pytest.fixture(scope="module")
def weights():
  """The shared weights, and the same for each cascade of a network without sharing."""
  params = jax.jit(SHARED.init)(jax.random.key(0), *batch())["params"]
  assert params.keys() == {"cascade"}
  return params, {f"cascade_{c}": params["cascade"] for c in (1, 2)}


def test_image_and_features_are_those_of_equal_cascades(weights):
  shared, apart = weights
  outputs, layers = features.apply(SHARED, shared, *batch())
  expected, others = features.apply(APART, apart, *batch())
  np.testing.assert_array_equal(outputs.image, expected.image)
  assert layers.keys() == others.keys()
  for name, layer in layers.items():
    np.testing.assert_array_equal(layer, others[name], err_msg=name)


def test_the_gradient_is_the_sum_over_cascades(weights):
  def loss(params, model):
    return jnp.square(model.apply({"params": params}, *batch()).image).sum()

  gradient = functools.partial(jax.jit(jax.grad(loss), static_argnums=1))
  shared, apart = weights
  found, each = gradient(shared, SHARED), gradient(apart, APART)
  total = jax.tree.map(lambda *leaves: sum(leaves), *each.values())
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    found["cascade"],
    total,
  )


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    (shapes.SHAPES["shared_10"], 9_857),
    (shapes.SHAPES["shared_15"], 9_857),
    (shapes.SHAPES["narrow_5"], 36_325),
    (shapes.SHAPES["narrow_6"], 47_925),
    (dict(convolutions=5, shared=True), 28_353),
  ],
)
def test_parameters(settings, expected):
  params = contract.parameter_shapes(DCCNN(**settings), (8, 8))
  assert features.count_parameters(params) == expected


def test_branches_of_shared_blocks(weights):
  """SFT: each branch is the rest of the student, which has one cascade's weights."""
  shared, _ = weights
  teacher = APART.clone(convolutions=4)
  image, measurement = batch()
  params = jax.jit(teacher.init)(jax.random.key(1), image, measurement)["params"]
  _, layers = features.apply(teacher, params, image, measurement)
  images = branches.build(SHARED, teacher).apply(
    {"params": {"student": shared}}, layers, measurement
  )
  one = SHARED.clone(cascades=1)
  x = one.apply({"params": shared}, layers["consistency_1"], measurement).image
  np.testing.assert_allclose(images["branch_1"], x, atol=1e-6)


def test_the_published_code_has_no_shared_weights(tmp_path, weights):
  with pytest.raises(UserError, match=r"a.pt: found a DC-CNN whose cascades share"):
    interop.save_kdmri_checkpoint(tmp_path / "a.pt", SHARED, weights[0])


@pytest.mark.parametrize(
  ("model", "size", "expected"),
  [
    # Published for the knee: 33.2 and 11.5 G.
    (DCCNN(), (640, 368), 33_236_582_400),
    (DCCNN(convolutions=3), (640, 368), 11_531_059_200),
    (DCCNN(convolutions=3, channels=2, consistency="matrix1"), (8, 8), 5 * 10_368 * 64),
    (DCCNN(convolutions=3, cascades=10, shared=True), (8, 6), 10 * 9_792 * 48),
    (VDSR(convolutions=3, features=5), (8, 6), 9 * (5 + 25 + 5) * 48),
    (EDSR(blocks=1, features=3), (8, 8), 9 * (3 + 3 * 9 + 3) * 64),
    # Embedding, attention of 8x8 windows, the layers of a block; two convolutions.
    (
      SwinIR(depths=(1,), features=4, heads=1, mlp_ratio=2),
      (8, 8),
      64 * (9 * 4 + 4 * 12 + 64 * 4 * 2 + 4 * 4 + 2 * 4 * 8 + 2 * 9 * 16 + 9 * 4),
    ),
  ],
)
def test_multiplications(model, size, expected):
  assert cost.multiplications(model, size) == expected
