"""Methods that own weights: definitions in float64, training, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.distilling import double, layers, start

from kdmri_jax.distillation import METHODS
from kdmri_jax.distillation.methods import masked_generative, review

pytestmark = pytest.mark.usefixtures("quick_compilation")

OWNING = [
  (name, variant)
  for name, variants in METHODS.items()
  for variant, method in variants.items()
  if method.owns_weights
]


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


def test_all_methods_that_own_weights_have_a_definition_here():
  assert set(OWNING) == set(EXPECTED)


STUDENT, TEACHER = layers(0, 3), layers(1, 4)


@functools.cache
def started(name, variant):
  """The method, its weights and context; its value, its gradients by both arguments."""
  adapted, params, context = start(name, STUDENT, TEACHER, variant)

  def value(params, teacher):
    hints = adapted.represent_teacher(teacher)
    return adapted.apply({"params": params}, STUDENT, hints, context)

  found = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))(params, TEACHER)
  return adapted, params, context, found


@pytest.mark.parametrize(("name", "variant"), EXPECTED)
def test_follows_its_definition_in_float64(name, variant):
  _, params, context, (value, _) = started(name, variant)
  weights = double(params["method"])
  definition = EXPECTED[name, variant]
  expected = definition(weights, double(STUDENT), double(TEACHER), context)
  assert value == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (150, 151), (3, 5)])
def test_hierarchical_context_in_float64(size):
  (student,), (teacher,) = (layers(k, 2, count=1, size=size) for k in (0, 1))
  value = jax.jit(review.hierarchical_context)(student, teacher)
  expected = context_loss(*double((student, teacher)))
  assert value == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(("name", "variant"), EXPECTED)
def test_every_weight_is_trained_and_the_teacher_is_not(name, variant):
  *_, (_, (trained, taught)) = started(name, variant)
  assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(trained))
  assert all((np.asarray(g) == 0).all() for g in taught)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), EXPECTED)
def test_a_few_steps_of_descent_lower_the_value(name, variant):
  """Student and weights together, as in a stage."""
  adapted, params, context, _ = started(name, variant)

  @jax.jit
  def descend(trained):
    value, gradient = jax.value_and_grad(
      lambda both: adapted.apply({"params": both[0]}, both[1], TEACHER, context)
    )(trained)
    scale = 0.02 / jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))
    return value, jax.tree.map(lambda x, g: x - scale * g, trained, gradient)

  trained, values = (params, STUDENT), []
  for _ in range(5):
    value, trained = descend(trained)
    values.append(float(value))
  assert all(np.diff(values) < 0)


@pytest.mark.parametrize(("name", "variant"), OWNING)
def test_unequal_numbers_of_layers_or_sizes_are_refused(name, variant):
  student, teacher = layers(0, 3, count=3), layers(1, 4)
  with pytest.raises((ValueError, AssertionError)):
    start(name, student, teacher, variant)
  with pytest.raises((ValueError, AssertionError)):
    start(name, student[:2], layers(1, 4, size=(7, 5)), variant)
