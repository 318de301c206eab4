"""Methods that own weights, against their definitions in float64 and golden numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.distillation import (
  METHODS,
  activation_boundary,
  factor_transfer,
  fitnets,
  masked_generative,
  review,
  vid,
)
from kdmri_jax.distillation.guide import Guide
from kdmri_jax.distillation.method import Context
from kdmri_jax.types import Measurement

OWNING = [
  (name, variant)
  for name, variants in METHODS.items()
  for variant, method in variants.items()
  if method.owns_weights
]


def layers(seed, channels, count=2, batch=3, size=(7, 6)):
  """Activations after ReLU."""
  rng = np.random.default_rng(seed)
  shape = (batch, *size, channels)
  return tuple(
    jax.nn.relu(jnp.asarray(rng.normal(size=shape).astype(np.float32)))
    for _ in range(count)
  )


def make_context(batch=3, size=(7, 6)):
  images = jnp.zeros((batch, *size, 1))
  measurement = Measurement(jnp.zeros((batch, *size), jnp.complex64), jnp.ones(size))
  draws = jnp.arange(7, 7 + batch, dtype=jnp.uint32)
  return Context(images, images, measurement, jnp.zeros(batch), jnp.zeros(()), draws)


def start(name, student, teacher, variant="paper"):
  """The method's guide, and its weights moved so that no bias is 0."""
  guide = Guide(METHODS[name][variant])
  context = make_context(len(student[0]), student[0].shape[1:3])
  params = guide.init(jax.random.key(1), student, teacher, context)["params"]
  rng = np.random.default_rng(4)

  def move(x):
    return x + jnp.asarray(rng.normal(0, 0.2, x.shape).astype(np.float32))

  return guide, jax.tree.map(move, params), context


def double(tree):
  return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def convolve(x, weights):
  """A zero-padded convolution [B, H, W, I] -> [B, H, W, O], tap by tap."""
  kernel = weights["kernel"]
  height, width = kernel.shape[:2]
  rows, columns = x.shape[1:3]
  padding = [(0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)]
  padded = np.pad(x, padding)
  out = np.zeros((*x.shape[:3], kernel.shape[3])) + weights["bias"]
  for i in range(height):
    for j in range(width):
      out += padded[:, i : i + rows, j : j + columns] @ kernel[i, j]
  return out


def relu(x):
  return np.maximum(x, 0)


def leaky(x):
  return np.where(x > 0, x, 0.1 * x)


def expected_fitnets(weights, student, teacher, context):
  value = 0
  for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1):
    value += np.mean((t - convolve(s, weights[f"regressor_{k}"])) ** 2) / 2
  return value


def expected_vid(weights, student, teacher, context):
  value = 0
  for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1):
    mean = weights[f"mean_{k}"]
    hidden = relu(convolve(s, mean["Conv_0"]))
    hidden = relu(convolve(hidden, mean["Conv_1"]))
    mu = convolve(hidden, mean["Conv_2"])
    variance = np.log(1 + np.exp(weights[f"alpha_{k}"])) + 1e-5
    sigma = np.sqrt(variance)
    density = np.exp(-((t - mu) ** 2) / (2 * variance)) / (sigma * np.sqrt(2 * np.pi))
    value += np.mean(-np.log(density)) - np.log(2 * np.pi) / 2
  return value


def boundary_entries(s, t):
  """By the cases of the definition, an entry at a time."""
  out = np.zeros_like(s)
  for index, pre in np.ndenumerate(s):
    if t[index] > 0 and pre < 1:
      out[index] = (1 - pre) ** 2
    elif t[index] <= 0 and pre > -1:
      out[index] = (1 + pre) ** 2
  return out


def expected_boundary(weights, student, teacher, context):
  value = 0
  for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1):
    value += boundary_entries(convolve(s, weights[f"connector_{k}"]), t).mean()
  return value


def expected_boundary_reference(weights, student, teacher, context):
  first, second = (
    boundary_entries(convolve(s, weights[f"connector_{k}"]), t).sum() / len(s)
    for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1)
  )
  return 0.003 * (first / 2 + second)


def expected_factor(weights, student, teacher, context):
  value = 0
  for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1):
    paraphraser = weights[f"paraphraser_{k}"]
    translator = weights[f"translator_{k}"]

    def encode(x, w):
      return convolve(leaky(convolve(x, w["Conv_0"])), w["Conv_1"])

    factor = encode(t, paraphraser["encoder"])
    hidden = leaky(convolve(factor, paraphraser["Conv_0"]))
    value += np.mean((t - convolve(hidden, paraphraser["Conv_1"])) ** 2)
    translated = encode(s, translator)
    for ours, theirs in zip(translated, factor, strict=True):
      unit = ours / np.linalg.norm(ours) - theirs / np.linalg.norm(theirs)
      value += np.abs(unit).mean() / len(s)
  return value


def expected_masked(weights, student, teacher, context):
  value = 0
  for k, (s, t) in enumerate(zip(student, teacher, strict=True), 1):
    for i, draw in enumerate(context.draws):
      mask = masked_generative.draw_masks(draw[None], k, s.shape[1:3])
      w = weights[f"generator_{k}"]
      hidden = relu(convolve(s[i : i + 1] * np.asarray(mask), w["Conv_0"]))
      generated = convolve(hidden, w["Conv_1"])
      value += np.mean((generated[0] - t[i]) ** 2) / len(s)
  return value


def context_loss(s, t):
  """Full size, and means over windows of 4x4, 2x2 and 1 parts."""
  total = np.mean((s - t) ** 2)
  for weight, most in [(1 / 2, 4), (1 / 4, 2), (1 / 8, 1)]:
    counts = [(n, min(n, most)) for n in s.shape[1:3]]
    edges = [
      [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
      for n, count in counts
    ]
    squares = [
      np.mean((s[:, a:b, c:d] - t[:, a:b, c:d]).mean(axis=(1, 2)) ** 2)
      for a, b in edges[0]
      for c, d in edges[1]
    ]
    total += weight * np.mean(squares)
  return total / (1 + 1 / 2 + 1 / 4 + 1 / 8)


def expected_review(weights, student, teacher, context):
  value, passed = 0, None
  for k in range(len(student), 0, -1):
    w = weights[f"fusion_{k}"]
    fused = convolve(student[k - 1], w["reduce"])
    if passed is not None:
      logits = convolve(np.concatenate([fused, passed], -1), w["attention"])
      share = 1 / (1 + np.exp(-logits))
      fused = share[..., :1] * fused + share[..., 1:] * passed
    value += context_loss(convolve(fused, w["expand"]), teacher[k - 1])
    passed = fused
  return value


EXPECTED = {
  ("fitnets", "paper"): expected_fitnets,
  ("vid", "paper"): expected_vid,
  ("activation_boundary", "paper"): expected_boundary,
  ("activation_boundary", "reference"): expected_boundary_reference,
  ("factor_transfer", "paper"): expected_factor,
  ("masked_generative", "paper"): expected_masked,
  ("review", "paper"): expected_review,
}


@pytest.mark.parametrize(("name", "variant"), EXPECTED)
def test_follows_its_definition_in_float64(name, variant):
  student, teacher = layers(0, 3), layers(1, 4)
  guide, params, context = start(name, student, teacher, variant)
  value = guide.apply({"params": params}, student, teacher, context)
  weights = double(params["method"])
  definition = EXPECTED[name, variant]
  expected = definition(weights, double(student), double(teacher), context)
  assert value == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(("name", "variant"), EXPECTED)
def test_every_weight_is_trained_and_the_teacher_is_not(name, variant):
  student, teacher = layers(0, 3), layers(1, 4)
  guide, params, context = start(name, student, teacher, variant)

  def value(params, teacher):
    hints = guide.represent_teacher(teacher)
    return guide.apply({"params": params}, student, hints, context)

  trained, taught = jax.grad(value, argnums=(0, 1))(params, teacher)
  assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(trained))
  assert all((np.asarray(g) == 0).all() for g in taught)


@pytest.mark.parametrize(("name", "variant"), EXPECTED)
def test_a_few_steps_of_descent_lower_the_value(name, variant):
  """Student and weights together, as in a stage."""
  student, teacher = layers(0, 3), layers(1, 4)
  guide, params, context = start(name, student, teacher, variant)

  @jax.jit
  def descend(trained):
    value, gradient = jax.value_and_grad(
      lambda both: guide.apply({"params": both[0]}, both[1], teacher, context)
    )(trained)
    scale = 0.02 / jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))
    return value, jax.tree.map(lambda x, g: x - scale * g, trained, gradient)

  trained, values = (params, student), []
  for _ in range(5):
    value, trained = descend(trained)
    values.append(float(value))
  assert all(np.diff(values) < 0)


def test_all_methods_that_own_weights_have_a_definition_here():
  assert set(OWNING) == set(EXPECTED)


def test_a_regressor_that_is_the_identity_leaves_half_the_mean_square(golden):
  numbers = golden("kd_losses")
  pair = [jnp.asarray(numbers[f"{role}_0"]) for role in ("student", "teacher")]
  identity = {"kernel": jnp.eye(6)[None, None], "bias": jnp.zeros(6)}
  value = fitnets.Regression().apply(
    {"params": {"regressor_1": identity}}, (pair[0],), (pair[1],)
  )
  assert float(value) == pytest.approx(float(numbers["hint_mse"]) / 2, rel=1e-6)
  assert float(fitnets.hint_mse(*pair)) == pytest.approx(
    float(numbers["hint_mse"]), rel=1e-6
  )


def test_golden_activation_boundaries(golden):
  numbers = golden("kd_losses")
  student, teacher = (
    tuple(jnp.asarray(numbers[f"pre_{role}_{k}"]) for k in range(2))
    for role in ("student", "teacher")
  )
  expected = numbers["activation_boundary_2layers"]
  value = activation_boundary.reference(student, teacher)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  fired = jax.tree.map(jax.nn.relu, teacher)
  np.testing.assert_allclose(
    activation_boundary.reference(student, fired), expected, rtol=1e-6
  )


def test_activations_beyond_the_margin_cost_nothing():
  (teacher,) = layers(1, 4, count=1)
  far = jnp.where(teacher > 0, 1.0, -1.0)
  assert float(activation_boundary.boundary(far, teacher)) == 0
  assert float(activation_boundary.boundary(0.5 * far, teacher)) > 0


def test_golden_factors(golden):
  """The golden factor is the mean square over the channels."""
  numbers = golden("kd_losses")
  student, teacher = (
    jnp.square(numbers[f"{role}_0"]).mean(axis=-1) for role in ("student", "teacher")
  )
  value = float(factor_transfer.factor_l1(student, teacher))
  assert value == pytest.approx(float(numbers["factor_l1"]), abs=3e-7)


def test_the_paraphraser_follows_its_reconstruction_alone():
  """Its gradient is the same whatever the student shows."""
  teacher = layers(1, 4)
  guide, params, context = start("factor_transfer", layers(0, 3), teacher)

  def gradient(student):
    def value(weights):
      return guide.apply({"params": {"method": weights}}, student, teacher, context)

    return jax.grad(value)(params["method"])

  one, other = gradient(layers(0, 3)), gradient(layers(8, 3))
  for name in params["method"]:
    leaves = (jax.tree.leaves(g[name]) for g in (one, other))
    same = all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
    assert same == name.startswith("paraphraser"), name


def test_a_likelihood_is_best_at_the_variance_of_the_error():
  (teacher,) = layers(1, 4, count=1)
  (mean,) = layers(2, 4, count=1)
  variance = jnp.square(teacher - mean).mean(axis=(0, 1, 2))
  gradient = jax.grad(vid.negative_log_likelihood, argnums=1)(mean, variance, teacher)
  np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_masks_hide_half_of_the_pixels_anew_for_every_image_layer_and_draw():
  draws = jnp.array([0, 1, 2**32 - 1], jnp.uint32)
  masks = masked_generative.draw_masks(draws, 1, (64, 50))
  assert masks.shape == (3, 64, 50, 1)
  assert masks.dtype == bool
  deviation = np.asarray(masks).mean(axis=(1, 2, 3)) - 0.5
  assert np.abs(deviation).max() < 4 * 0.5 / np.sqrt(64 * 50)
  other = masked_generative.draw_masks(draws, 2, (64, 50))
  pairs = [(masks[0], masks[1]), (masks[0], masks[2]), (masks[0], other[0])]
  for a, b in pairs:
    assert 0.4 < (np.asarray(a) == np.asarray(b)).mean() < 0.6


def test_masks_are_the_same_under_jit_alone_and_on_several_devices():
  draws = jnp.array([3, 9, 11, 2**31], jnp.uint32)

  def draw(numbers):
    return masked_generative.draw_masks(numbers, 1, (9, 7))

  masks = draw(draws)
  np.testing.assert_array_equal(jax.jit(draw)(draws), masks)
  np.testing.assert_array_equal(draw(draws[2:3]), masks[2:3])
  split = jax.pmap(draw)(draws.reshape(2, 2))
  np.testing.assert_array_equal(split.reshape(masks.shape), masks)


def test_masked_pixels_of_the_student_do_not_count():
  student, teacher = layers(0, 3), layers(1, 4)
  guide, params, context = start("masked_generative", student, teacher)
  hidden = tuple(
    jnp.where(masked_generative.draw_masks(context.draws, k, s.shape[1:3]), s, 99.0)
    for k, s in enumerate(student, 1)
  )
  values = [
    guide.apply({"params": params}, features, teacher, context)
    for features in (student, hidden)
  ]
  assert values[0] == values[1]


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (150, 151), (3, 5)])
def test_hierarchical_context_in_float64(size):
  (student,), (teacher,) = (layers(k, 2, count=1, size=size) for k in (0, 1))
  value = review.hierarchical_context(student, teacher)
  expected = context_loss(*double((student, teacher)))
  assert value == pytest.approx(expected, rel=2e-6)


def test_hierarchical_context_of_a_constant_difference_is_its_square():
  (student,) = layers(0, 2, count=1)
  value = review.hierarchical_context(student, student + 3)
  assert value == pytest.approx(9, rel=1e-6)


def test_a_deeper_student_layer_is_taught_by_an_earlier_hint():
  student, teacher = layers(0, 3, count=3), layers(1, 4, count=3)
  guide, params, context = start("review", student, teacher)

  def value(student, hints):
    return guide.apply({"params": params}, student, hints, context)

  shown = jax.grad(value)(student, teacher)
  early = jax.grad(value)(student, (teacher[0] + 1, *teacher[1:]))
  late = jax.grad(value)(student, (*teacher[:2], teacher[2] + 1))
  assert not np.array_equal(shown[2], early[2])
  np.testing.assert_array_equal(shown[0], late[0])


def test_review_refuses_a_single_layer():
  student, teacher = layers(0, 3, count=1), layers(1, 4, count=1)
  with pytest.raises(ValueError, match="two layers"):
    start("review", student, teacher)


@pytest.mark.parametrize(("name", "variant"), OWNING)
def test_unequal_numbers_of_layers_or_sizes_are_refused(name, variant):
  student, teacher = layers(0, 3, count=3), layers(1, 4)
  with pytest.raises((ValueError, AssertionError)):
    start(name, student, teacher, variant)
  with pytest.raises((ValueError, AssertionError)):
    start(name, student[:2], layers(1, 4, size=(7, 5)), variant)
