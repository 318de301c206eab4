"""A teacher whose surplus layers fade out: its ends, and in between."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models import features, shrinking
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics.undersample import undersample

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHAPE = (2, 12, 10, 1)
NETWORKS = {
  "dccnn": (DCCNN(2, 3, 4), DCCNN(2, 5, 4)),
  "reference": (
    DCCNN(2, 2, 4, variant="reference", padding=2),
    DCCNN(2, 5, 4, variant="reference", padding=2),
  ),
  "vdsr": (VDSR(3, 4), VDSR(8, 4)),
}


def batch():
  rng = np.random.default_rng(0)
  image = rng.uniform(0, 1, SHAPE).astype(np.float32)
  mask = np.zeros(SHAPE[1:3], np.float32)
  mask[::2] = 1
  return undersample(image, mask)


def case(name, seed=1):
  """The networks, the teacher's weights with random maps, and an input."""
  student, teacher = NETWORKS[name]
  image, measurement = batch()
  params = jax.jit(teacher.init)(jax.random.key(seed), image, measurement)["params"]
  start = shrinking.start(teacher, jax.device_get(params), student.convolutions)
  rng = np.random.default_rng(seed)
  maps = jax.tree.map(
    lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), start.maps
  )
  return student, teacher, start, start._replace(maps=maps), image, measurement


@pytest.mark.parametrize("name", NETWORKS)
def test_it_begins_as_the_teacher_and_ends_as_the_student(name):
  student, teacher, start, weights, image, measurement = case(name)
  first = shrinking.apply(teacher, start, jnp.zeros(()), image, measurement)
  expected = features.apply(teacher, start.params, image, measurement)[1]
  chex.assert_trees_all_equal(first, {key: expected[key] for key in first})

  merged = weights.merged()
  init = jax.eval_shape(student.init, jax.random.key(0), image, measurement)
  chex.assert_trees_all_equal_shapes_and_dtypes(merged, init["params"])
  last = shrinking.apply(teacher, weights, jnp.ones(()), image, measurement)
  expected = features.apply(student, merged, image, measurement)[1]
  chex.assert_trees_all_close(last, {key: expected[key] for key in last}, atol=2e-6)


def test_layers_that_fade_are_spread_evenly():
  def fading(convolutions, left):
    teacher = VDSR(convolutions, 4)
    params = {"cnn": {f"conv_{k}": {} for k in range(1, convolutions + 1)}}
    return list(shrinking.start(teacher, params, left).maps["cnn"])

  assert fading(5, 3) == ["conv_2", "conv_4"]
  assert fading(5, 4) == ["conv_3"]
  assert fading(5, 2) == ["conv_2", "conv_3", "conv_4"]
  assert fading(11, 7) == ["conv_3", "conv_5", "conv_7", "conv_9"]


def correlate(x, kernel, bias=0.0):
  """A 3x3 convolution of an image [H, W, I] with zeros outside, in float64."""
  padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
  height, width = x.shape[:2]
  return bias + sum(
    padded[i : i + height, j : j + width] @ kernel[i, j]
    for i in range(3)
    for j in range(3)
  )


def test_a_half_faded_network_is_that_of_numpy():
  _, teacher, _, weights, image, _ = case("vdsr")
  params = jax.tree.map(np.float64, weights.params["cnn"])
  maps, share = weights.maps["cnn"], 0.3
  x = np.float64(image[0])
  for k in range(1, 8):
    layer = params[f"conv_{k}"]
    y = np.maximum(correlate(x, layer["kernel"], layer["bias"]), 0)
    if f"conv_{k}" in maps:
      y = (1 - share) * y + share * x @ np.float64(maps[f"conv_{k}"]["kernel"][0, 0])
    x = y
  x = correlate(x, params["conv_8"]["kernel"], params["conv_8"]["bias"])
  found = shrinking.apply(teacher, weights, jnp.float32(share), image, None)["image"]
  np.testing.assert_allclose(found[0], image[0] + x, atol=2e-6)


def test_every_weight_learns_while_it_fades():
  _, teacher, weights, _, image, measurement = case("dccnn", seed=2)

  def loss(weights):
    images = shrinking.apply(teacher, weights, jnp.float32(0.5), image, measurement)
    return jnp.square(images["image"] - 0.5).sum()

  gradient = jax.jit(jax.grad(loss))(weights)
  kernels = [leaf for leaf in jax.tree.leaves(gradient) if leaf.ndim == 4]
  assert len(kernels) == 2 * (5 + 2)
  assert all(np.abs(kernel).max() > 0 for kernel in kernels)


def test_a_teacher_that_recomputes_has_the_same_gradient():
  _, teacher, _, weights, image, measurement = case("dccnn")

  def loss(weights, teacher):
    images = shrinking.apply(teacher, weights, jnp.float32(0.5), image, measurement)
    return jnp.square(images["image"] - 0.5).sum()

  gradient = jax.jit(jax.grad(loss), static_argnums=1)
  found, expected = (
    gradient(weights, teacher.clone(recompute=True)),
    gradient(weights, teacher),
  )
  chex.assert_trees_all_equal(found, expected)


@pytest.mark.parametrize(
  ("student", "teacher"),
  [
    (DCCNN(2, 3, 4), None),
    (DCCNN(2, 3, 4), DCCNN(2, 3, 4)),
    (DCCNN(2, 5, 4), DCCNN(2, 3, 4)),
    (DCCNN(2, 3, 4), DCCNN(3, 5, 4)),
    (DCCNN(2, 3, 4), DCCNN(2, 5, 8)),
    (DCCNN(2, 3, 4), DCCNN(2, 5, 4, variant="reference")),
    (DCCNN(2, 1, 4), DCCNN(2, 5, 4)),
    (VDSR(3, 4), DCCNN(1, 5, 4)),
    (EDSR(), EDSR()),
  ],
)
def test_other_networks_are_refused(student, teacher):
  with pytest.raises(ArgumentError, match="shrink: found"):
    shrinking.check(student, teacher)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_more_convolutions_are_taken(name):
  shrinking.check(*NETWORKS[name])


def test_form_and_precision_may_differ():
  student = DCCNN(2, 3, 4, consistency="rfft", precision="bfloat16")
  shrinking.check(student, DCCNN(2, 5, 4, consistency="matrix"))
