"""Parts of the methods with weights: losses, masks and fusion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.distilling import layers, start

from kdmri_jax.distillation.methods import (
  activation_boundary,
  factor_transfer,
  fitnets,
  masked_generative,
  review,
  vid,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


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


@pytest.mark.slow
def test_the_paraphraser_follows_its_reconstruction_alone():
  """Its gradient is the same whatever the student shows."""
  teacher = layers(1, 4)
  adapted, params, context = start("factor_transfer", layers(0, 3), teacher)

  def gradient(student):
    def value(weights):
      return adapted.apply({"params": {"method": weights}}, student, teacher, context)

    return jax.jit(jax.grad(value))(params["method"])

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
  adapted, params, context = start("masked_generative", student, teacher)
  hidden = tuple(
    jnp.where(masked_generative.draw_masks(context.draws, k, s.shape[1:3]), s, 99.0)
    for k, s in enumerate(student, 1)
  )
  values = [
    adapted.apply({"params": params}, features, teacher, context)
    for features in (student, hidden)
  ]
  assert values[0] == values[1]


def test_hierarchical_context_of_a_constant_difference_is_its_square():
  (student,) = layers(0, 2, count=1)
  value = review.hierarchical_context(student, student + 3)
  assert value == pytest.approx(9, rel=1e-6)


def test_a_deeper_student_layer_is_taught_by_an_earlier_hint():
  student, teacher = layers(0, 3, count=3), layers(1, 4, count=3)
  adapted, params, context = start("review", student, teacher)

  def value(student, hints):
    return adapted.apply({"params": params}, student, hints, context)

  differentiate = jax.jit(jax.grad(value))
  shown = differentiate(student, teacher)
  early = differentiate(student, (teacher[0] + 1, *teacher[1:]))
  late = differentiate(student, (*teacher[:2], teacher[2] + 1))
  assert not np.array_equal(shown[2], early[2])
  np.testing.assert_array_equal(shown[0], late[0])


def test_review_refuses_a_single_layer():
  student, teacher = layers(0, 3, count=1), layers(1, 4, count=1)
  with pytest.raises(ValueError, match="two layers"):
    start("review", student, teacher)
