"""Kernels of several convolutions: exact, and with the gradient of real branches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.marks import slow
from helpers.small_step import make, small_problem, small_stage

from kdmri_jax.config import StageConfig
from kdmri_jax.errors import ArgumentError
from kdmri_jax.models import DCCNN, EDSR, VDSR, SwinIR, features, kernels
from kdmri_jax.models.cnn import CNN
from kdmri_jax.training.optimiser import make_optimiser, muon_groups
from kdmri_jax.types import Measurement

pytestmark = pytest.mark.usefixtures("quick_compilation")

FORMS = tuple(kernels.FORMS)
NETWORKS = (  # network, its 3x3 kernels, those with as many inputs as outputs
  (DCCNN(convolutions=3), 15, 5),
  (DCCNN(convolutions=5), 25, 15),
  (VDSR(convolutions=7), 7, 5),
  (EDSR(blocks=2), 7, 5),
  (SwinIR(depths=(2,), features=12, heads=2, residual="3conv"), 6, 0),
)


def zeros(network):
  """Its parameters, all 0."""
  kspace, mask = jnp.zeros((1, 16, 16), jnp.complex64), np.ones((16, 16), np.uint8)
  arguments = jnp.zeros((1, 16, 16, 1)), Measurement(kspace, mask)
  shapes = jax.eval_shape(network.init, jax.random.key(0), *arguments)["params"]
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def moved(weights, seed=0, scale=0.1):
  """Weights after some training: no part is 0, none fits the others."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: (x + scale * rng.normal(size=x.shape)).astype(np.float32), weights
  )


def small(form, channels=2):
  """A CNN, an input, its parameters and its trained weights."""
  cnn = CNN(3, 6, channels)
  x = np.random.default_rng(3).normal(size=(2, 7, 9, channels)).astype(np.float32)
  shapes = jax.eval_shape(cnn.init, jax.random.key(1), x)["params"]
  params = moved(jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes), seed=1)
  return cnn, x, params, kernels.split(params, form, seed=5)


def convolve(x, kernel):
  """Zero-padded."""
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def with_real_branches(weights, x):
  """The CNN whose kernels are separate convolutions."""
  last = len(weights)
  for k in range(1, last + 1):
    node, bias = weights[f"conv_{k}"]["kernel"], weights[f"conv_{k}"]["bias"]
    if isinstance(node, kernels.Parallel):
      y = convolve(x, node.kernel) + convolve(x, node.pointwise)
      y += 0 if node.identity is None else node.identity * x
    else:
      y = convolve(convolve(convolve(x, node.expand), node.kernel), node.squeeze)
    x = y + bias if k == last else jax.nn.relu(y + bias)
  return x


@pytest.mark.parametrize("form", FORMS)
def test_the_merged_network_is_the_one_with_real_branches(form):
  cnn, x, _, weights = small(form)
  weights = moved(weights)

  def loss(weights, run, x):
    y = run(weights, x)
    return (jnp.sin(y) * jnp.arange(y.size).reshape(y.shape)).mean(), y

  def merged(weights, x):
    return cnn.apply({"params": kernels.merge(weights)}, x)

  gradient = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)
  found, y = gradient(weights, merged, x)
  with jax.enable_x64(True):
    weights, x = jax.tree.map(np.float64, (weights, x))
    expected, exact = gradient(weights, with_real_branches, x)
  assert exact.dtype == np.float64
  np.testing.assert_allclose(y, exact, atol=1e-6)
  for part, wanted in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    np.testing.assert_allclose(part, wanted, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("form", FORMS)
def test_a_split_network_starts_as_the_given_one(form):
  cnn, x, params, weights = small(form)
  merged = kernels.merge(weights)
  atol = 0 if form == "parallel" else 1e-7
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), merged, params)
  images = [cnn.apply({"params": each}, x) for each in (merged, params)]
  np.testing.assert_allclose(*images, atol=10 * atol)
  again = kernels.split(params, form, seed=5)
  jax.tree.map(np.testing.assert_array_equal, again, weights)


def test_expanded_kernels_use_all_their_channels():
  """A start of the lowest possible rank would train as the plain kernel does."""
  cnn, x, params, weights = small("expanded")

  def loss(weights):
    return jnp.square(cnn.apply({"params": kernels.merge(weights)}, x) - 1).mean()

  gradient = jax.grad(loss)(weights)["conv_2"]["kernel"]
  first, node = weights["conv_2"]["kernel"].expand[0, 0], gradient.expand[0, 0]
  outside = node - node @ first.T @ first
  assert np.linalg.norm(outside) > 0.3 * np.linalg.norm(node)
  other = kernels.split(params, "expanded", seed=6)
  assert np.abs(other["conv_2"]["kernel"].expand - first).max() > 0.1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("network", "count", "square"), NETWORKS)
def test_every_network(network, count, square, form):
  params = zeros(network)
  weights = kernels.split(params, form, seed=0)
  nodes = [
    node
    for node in jax.tree.leaves(weights, is_leaf=kernels.is_split)
    if kernels.is_split(node)
  ]
  assert len(nodes) == count
  if form == "parallel":
    assert sum(node.identity is not None for node in nodes) == square
  shapes = [jax.tree.map(np.shape, tree) for tree in (kernels.merge(weights), params)]
  assert shapes[0] == shapes[1]
  assert features.count_parameters(weights) > features.count_parameters(params)


def test_the_published_number_of_parameters():
  merged = kernels.merge(kernels.split(zeros(NETWORKS[0][0]), "expanded", seed=0))
  assert features.count_parameters(merged) == 49_285


def test_plain_networks_are_not_touched():
  params = zeros(NETWORKS[0][0])
  assert kernels.split(params, "plain", seed=0) is params
  assert not jax.make_jaxpr(kernels.merge)(params).eqns


def test_a_network_without_3x3_kernels_is_refused():
  for leaf in (np.zeros((5, 5, 4, 4)), np.zeros((3, 3, 4)), np.zeros((9, 9))):
    with pytest.raises(ArgumentError, match="kernels: found 'expanded', for a network"):
      kernels.split({"conv": {"kernel": leaf}}, "expanded", seed=0)


def test_the_settings_are_the_forms():
  choices = StageConfig.__dataclass_fields__["kernels"].metadata["limits"].choices
  assert choices == ("plain", *FORMS)


class TestOptimisers:
  def test_the_groups_of_muon(self):
    *_, weights = small("parallel")
    found = muon_groups(weights)
    assert found["conv_1"]["kernel"] == ("adam", "adam", None)
    assert found["conv_2"] == {"bias": "adam", "kernel": ("muon", "muon", "adam")}
    *_, weights = small("expanded")
    groups = [found["kernel"] for found in muon_groups(weights).values()]
    assert groups == [("adam",) * 3, ("muon",) * 3, ("adam",) * 3]

  def test_adamw_shrinks_every_convolution_and_no_identity(self):
    *_, weights = small("parallel", channels=6)
    weights = moved(weights, scale=1.0)
    settings = dict(optimiser="adamw", optimiser_settings={"weight_decay": 0.5})
    given = StageConfig("student", learning_rate=0.1, **settings)
    optimiser = make_optimiser(given, 1)
    nothing = jax.tree.map(np.zeros_like, weights)
    updates, _ = optimiser.update(nothing, optimiser.init(weights), weights)
    node, update = weights["conv_2"]["kernel"], updates["conv_2"]["kernel"]
    for found, before in zip(update[:2], node[:2], strict=True):
      np.testing.assert_allclose(found, -0.05 * before, rtol=1e-5)
    np.testing.assert_array_equal(update.identity, 0)


@pytest.mark.parametrize(
  ("form", "check"),
  [("parallel", "validate"), slow("expanded", "validate"), slow("expanded", "audit")],
)
def test_what_a_stage_keeps_is_the_merged_average(form, check):
  given = dataclasses.replace(
    small_stage("paper", "student"), kernels=form, ema=0.9, optimiser="muon"
  )
  slices, acquisition, models, params = small_problem()
  problem = given, models, params, slices, acquisition, jax.devices()[:1]
  steps, state, teacher = make(*problem)
  for _ in range(2):
    state, _ = steps.train(state, teacher, slices, acquisition)
  kept, _ = state.validated
  assert jax.tree.map(np.shape, kept) == jax.tree.map(np.shape, params["student"])
  jax.tree.map(
    np.testing.assert_array_equal, kept, kernels.merge(state.optimiser.average[0])
  )
  plain = state._replace(
    params=kernels.merge(state.params),
    optimiser=state.optimiser._replace(average=state.validated),
  )
  found, expected = (
    getattr(steps, check)(each, teacher, slices, acquisition) for each in (state, plain)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), found, expected
  )
