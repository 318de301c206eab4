"""Optimisers, schedules, clipping and averaged weights, against float64 in NumPy."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small_step import assert_close, make, run, small_problem, small_stage

from kdmri_jax.config import StageConfig, TermConfig
from kdmri_jax.errors import ArgumentError
from kdmri_jax.training import batches
from kdmri_jax.training.optimiser import (
  averaging,
  check,
  make_optimiser,
  make_schedule,
  muon_groups,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHAPES = {
  "first": {"kernel": (3, 3, 1, 32), "bias": (32,)},
  "hidden": {"kernel": (3, 3, 32, 24), "bias": (24,)},
  "twin": {"kernel": (3, 3, 32, 24)},
  "dense": {"kernel": (24, 40)},
  "last": {"kernel": (3, 3, 24, 2)},
  "table": {"bias_table": (225, 6)},
  "scale": {"alpha": (7,)},
}
LEVERS = {
  "adamw": dict(optimiser="adamw", optimiser_settings={"weight_decay": 0.1}),
  "muon": dict(optimiser="muon", learning_rate=3e-3),
  "cosine": dict(schedule="cosine", warmup=0.2),
  "clip": dict(clip=0.01),
  "ema": dict(ema=0.99),
  "all": dict(optimiser="muon", schedule="cosine", warmup=0.2, clip=0.01, ema=0.99),
}


def stage(**settings):
  settings = {"learning_rate": 0.1, "epochs": 2, **settings}
  return StageConfig("student", terms={"l1": TermConfig("l1")}, **settings)


def weights(seed=0, scale=1.0):
  """Random arrays of `SHAPES` and of auxiliary weights, as a stage trains them."""
  rng = np.random.default_rng(seed)

  def draw(shape):
    return (scale * rng.normal(size=shape)).astype(np.float32)

  auxiliary = {"hints": {"adapter_1": {"kernel": (1, 1, 24, 32), "bias": (32,)}}}
  return jax.tree.map(draw, (SHAPES, auxiliary), is_leaf=_is_shape)


def _is_shape(node):
  return isinstance(node, tuple) and isinstance(node[0], int)


def trajectory(optimiser, trained, gradients):
  """Weights after each step, and the last state."""

  @jax.jit
  def step(trained, state, gradient):
    updates, state = optimiser.update(gradient, state, trained)
    return optax.apply_updates(trained, updates), state

  state, found = optimiser.init(trained), []
  for gradient in gradients:
    trained, state = step(trained, state, gradient)
    found.append(trained)
  return found, state


def adam_update(gradients, rate, b1=0.9, b2=0.999, eps=1e-8):
  """The update of the last of some gradients, float64."""
  first = second = 0.0
  for g in np.asarray(gradients, np.float64):
    first, second = b1 * first + (1 - b1) * g, b2 * second + (1 - b2) * g**2
  t = len(gradients)
  return -rate * first / (1 - b1**t) / (np.sqrt(second / (1 - b2**t)) + eps)


def assert_same(found, expected, atol=1e-6):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5), found, expected
  )


class TestSchedule:
  def test_a_cosine_after_a_warm_up(self):
    rate = make_schedule(
      stage(schedule="cosine", warmup=0.1, epochs=20, decay_epochs=3, decay_factor=0.1),
      steps_per_epoch=5,
    )
    expected = [0.1 * (k + 1) / 11 for k in range(10)]
    expected += [0.05 * (1 + math.cos(math.pi * k / 90)) for k in range(90)]
    rates = jax.vmap(rate)(jnp.arange(100))
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-8)
    assert rate(10) == np.float32(0.1) and rate(100) < 1e-9
    np.testing.assert_allclose(jax.jit(rate)(jnp.int32(55)), expected[55], rtol=1e-5)

  def test_steps_after_a_warm_up(self):
    rate = make_schedule(
      stage(warmup=0.25, epochs=4, decay_epochs=2, decay_factor=0.5), steps_per_epoch=3
    )
    expected = [0.025, 0.05, 0.075, *[0.1] * 3, *[0.05] * 6]
    np.testing.assert_allclose([rate(k) for k in range(12)], expected, rtol=1e-6)

  @pytest.mark.parametrize(("warmup", "first"), [(0.0, 0.1), (1.0, 0.05)])
  def test_a_training_of_one_step(self, warmup, first):
    given = stage(schedule="cosine", warmup=warmup, epochs=1)
    assert make_schedule(given, 1)(0) == pytest.approx(first)


class TestAdam:
  def test_without_levers_it_is_plain_adam(self):
    """The same operations, so the same numbers."""
    given = stage(decay_epochs=1, decay_factor=0.1)
    plain = optax.adam(
      optax.exponential_decay(0.1, transition_steps=7, decay_rate=0.1, staircase=True)
    )
    text = [
      str(jax.make_jaxpr(step)(*arguments))
      for each in (make_optimiser(given, 7), plain)
      for step, arguments in (
        (each.init, (weights(),)),
        (each.update, (weights(1), each.init(weights()), weights())),
      )
    ]
    assert text[:2] == text[2:]

  def test_its_settings(self):
    gradients = [weights(seed, 0.1) for seed in range(3)]
    settings = {"b1": 0.8, "b2": 0.95, "eps": 1e-3}
    optimiser = make_optimiser(stage(optimiser_settings=settings), 1)
    found, _ = trajectory(optimiser, weights(), gradients)
    before, after = (each[0]["hidden"]["kernel"] for each in found[1:])
    kernels = [each[0]["hidden"]["kernel"] for each in gradients]
    np.testing.assert_allclose(
      after - before, adam_update(kernels, 0.1, **settings), atol=1e-6
    )

  def test_adamw_shrinks_kernels_alone(self):
    gradients = [weights(seed, 0.1) for seed in range(3)]
    plain, _ = trajectory(make_optimiser(stage(), 1), weights(), gradients[:1])
    settings = {"weight_decay": 0.3}
    decaying = stage(optimiser="adamw", optimiser_settings=settings)
    found, _ = trajectory(make_optimiser(decaying, 1), weights(), gradients[:1])

    def expected(path, without, start):
      is_kernel = path[-1].key == "kernel"
      return without - is_kernel * 0.1 * 0.3 * start.astype(np.float64)

    expected = jax.tree_util.tree_map_with_path(expected, plain[0], weights())
    assert_same(found[0], expected)


class TestMuon:
  def test_which_weights_it_takes(self):
    network, auxiliary = muon_groups(weights())
    expected = {
      "first": {"kernel": "adam", "bias": "adam"},
      "hidden": {"kernel": "muon", "bias": "adam"},
      "twin": {"kernel": "muon"},
      "dense": {"kernel": "muon"},
      "last": {"kernel": "adam"},
      "table": {"bias_table": "adam"},
      "scale": {"alpha": "adam"},
    }
    assert network == expected
    assert auxiliary == {"hints": {"adapter_1": {"kernel": "muon", "bias": "adam"}}}

  def test_its_steps(self):
    gradients = [weights(seed, 0.1) for seed in range(3)]
    settings = {"momentum": 0.9, "rms": 0.5, "weight_decay": 0.2, "b2": 0.95}
    given = stage(optimiser="muon", optimiser_settings=settings)
    found, _ = trajectory(make_optimiser(given, 1), weights(), gradients)
    before, after = found[1:]

    def expected(path, group, start, *gradients):
      if group == "adam":
        return start + adam_update(gradients, 0.1, b2=0.95)
      return start - 0.1 * (muon_direction(gradients, 0.9, 0.5) + 0.2 * start)

    expected = jax.tree_util.tree_map_with_path(
      expected, muon_groups(before), before, *gradients
    )
    assert_same(after, expected, atol=2e-5)

  def test_the_size_of_its_update(self):
    """Singular values near 1 before the scale: those of 5 Newton-Schulz steps."""
    given = stage(optimiser="muon", learning_rate=1e-3)
    found, _ = trajectory(make_optimiser(given, 1), weights(), [weights(1, 1e-4)])
    update = jax.tree.map(lambda a, b: np.float64(a) - b, weights(), found[0])[0]
    for name, rows in (("hidden", 288), ("twin", 288), ("dense", 24)):
      matrix = update[name]["kernel"].reshape(rows, -1)
      scale = 1e-3 * math.sqrt(max(matrix.shape))
      values = np.linalg.svd(matrix / scale, compute_uv=False)
      assert values.min() > 0.6 and values.max() < 1.3
      assert np.sqrt((matrix**2).mean()) == pytest.approx(1e-3, rel=0.25)

  def test_a_kernel_without_gradient_stays(self):
    gradient = jax.tree.map(np.zeros_like, weights())
    found, _ = trajectory(
      make_optimiser(stage(optimiser="muon"), 1), weights(), [gradient] * 2
    )
    jax.tree.map(np.testing.assert_array_equal, found[-1], weights())


def muon_direction(gradients, momentum, rms):
  """What Muon subtracts, without the learning rate, float64."""
  average = 0.0
  for g in np.asarray(gradients, np.float64):
    average = momentum * average + (1 - momentum) * g
  t = len(gradients)
  ahead = momentum * average / (1 - momentum ** (t + 1))
  ahead += (1 - momentum) * np.float64(gradients[-1]) / (1 - momentum**t)
  x = ahead.reshape(-1, ahead.shape[-1])
  x = x / np.linalg.norm(x)
  a, b, c = 3.4445, -4.7750, 2.0315
  for _ in range(5):
    product = x @ x.T
    x = a * x + (b * product + c * product @ product) @ x
  return (rms * math.sqrt(max(x.shape)) * x).reshape(ahead.shape)


def test_a_large_gradient_is_scaled_down_to_the_limit():
  gradients = [weights(seed, scale) for seed, scale in enumerate((1e-4, 3.0, 0.5))]
  sgd = dict(optimiser="optax:sgd", optimiser_settings={})
  for limit in (0.0, 2.0):
    found, _ = trajectory(
      make_optimiser(stage(**sgd, clip=limit), 1), weights(), gradients
    )
    expected = weights()
    for gradient in gradients:
      norm = math.sqrt(
        sum(np.square(np.float64(x)).sum() for x in jax.tree.leaves(gradient))
      )
      scale = min(1, limit / norm) if limit else 1
      expected = jax.tree.map(lambda w, g, s=scale: w - 0.1 * s * g, expected, gradient)
    assert_same(found[-1], expected, atol=1e-5)


@pytest.mark.parametrize("decay", [0.3, 0.999, 1.0])
def test_averaged_weights(decay):
  gradients = [weights(seed) for seed in range(8)]
  found, state = trajectory(averaging(optax.sgd(0.5), decay), weights(), gradients)
  average = jax.tree.map(np.float64, weights())
  for t, after in enumerate(found, start=1):
    d = min(decay, (1 + t) / (10 + t))
    average = jax.tree.map(lambda a, w, d=d: d * a + (1 - d) * w, average, after)
  assert_same(state.average, average)
  plain, _ = trajectory(optax.sgd(0.5), weights(), gradients)
  jax.tree.map(np.testing.assert_array_equal, found[-1], plain[-1])


class TestSteps:
  @pytest.mark.slow
  @pytest.mark.parametrize(
    ("lever", "name"), [("all", "kd"), *((key, "feature") for key in LEVERS)]
  )
  def test_several_devices_and_several_steps_at_once(self, lever, name):
    given = dataclasses.replace(small_stage("paper", name), **LEVERS[lever])
    one = run(given, jax.devices()[:1])
    assert_close(one, run(given, jax.devices()[:4]), atol=3e-5)
    slices, acquisition, models, params = small_problem()
    problem = given, models, params, slices, acquisition, jax.devices()[:1]
    steps, singly, teacher = make(*problem)
    rows = np.array([[0, 3, 5], [7, 1, 2], [4, 6, 0]])
    for chosen in rows:
      batch = batches.take(slices, chosen)
      singly, _ = steps.train(singly, teacher, batch, acquisition)
    steps, many, teacher = make(*problem)
    many, _ = steps.train_many(many, teacher, slices, rows, acquisition)
    assert_same(many.validated, singly.validated, atol=2e-6)

  def test_averages_are_validated(self):
    given = dataclasses.replace(small_stage("paper", "student"), ema=0.9)
    slices, acquisition, models, params = small_problem()
    problem = given, models, params, slices, acquisition, jax.devices()[:1]
    steps, state, teacher = make(*problem)
    for _ in range(2):
      state, _ = steps.train(state, teacher, slices, acquisition)
    last, averaged = (state.params, state.auxiliary), state.validated

    def errors(params, average):
      optimiser = state.optimiser._replace(average=average)
      given = state._replace(params=params, optimiser=optimiser)
      return steps.validate(given, teacher, slices, acquisition)[0]["mse"]

    found = errors(state.params, averaged)
    np.testing.assert_array_equal(found, errors(params["student"], averaged))
    assert not np.array_equal(found, errors(state.params, last))


class TestRefusals:
  @pytest.mark.parametrize(
    ("settings", "message"),
    [
      (dict(optimiser="adamm"), "optimiser: found 'adamm'; .*adam.*Did you mean"),
      (dict(optimiser="os:getcwd"), r"optimiser_settings: found \{\} \(TypeError"),
      (dict(optimiser="os:sep"), "optimiser: found 'os:sep', a str"),
      (dict(optimiser="builtins:id"), r"optimiser: found 'builtins:id', which returns"),
      (dict(optimiser_settings={"b3": 0.9}), r"optimiser_settings: .*'b3'"),
      (dict(optimiser_settings={"b1": 1.0}), r"settings\.b1: found 1\.0; .* below 1"),
      (dict(optimiser_settings={"b2": "high"}), r"settings\.b2: found 'high'"),
      (dict(optimiser_settings={"eps": 0}), r"settings\.eps: found 0; .* above 0"),
      (dict(optimiser_settings={"weight_decay": 0.1}), "weight_decay"),
      (
        dict(optimiser="adamw", optimiser_settings={"weight_decay": math.nan}),
        r"settings\.weight_decay: found nan",
      ),
      (
        dict(optimiser="muon", optimiser_settings={"rms": -1.0}),
        r"settings\.rms: found -1\.0",
      ),
      (dict(optimiser="muon"), "'muon', for a network without kernels between hidden"),
    ],
  )
  def test_before_training(self, settings, message):
    image_to_image = {"kernel": jnp.zeros((3, 3, 1, 32)), "bias": jnp.zeros(32)}
    with pytest.raises(ArgumentError, match=message):
      check(stage(**settings), lambda: (image_to_image, {}))

  @pytest.mark.parametrize(
    ("values", "message"),
    [
      (dict(schedule="linear"), "schedule: found 'linear'; expected one of step, cos"),
      (dict(warmup=1.5), "warmup: found 1.5"),
      (dict(clip=-1.0), "clip: found -1.0"),
      (dict(ema=1.01), "ema: found 1.01"),
      (dict(ema=math.nan), "ema: found nan"),
    ],
  )
  def test_limits(self, values, message):
    with pytest.raises(ArgumentError, match=message):
      stage(**values)
