"""Cascades of the teacher stand in for the student's while it trains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small_step import assert_close, small_problem, small_stage

from kdmri_jax.config import TermConfig
from kdmri_jax.errors import ArgumentError
from kdmri_jax.models import features as feature_lib
from kdmri_jax.models import swapping
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.training.stage_networks import Networks, Teacher, complete, fit_terms
from kdmri_jax.training.step import _SWAP, init_state, make_steps
from kdmri_jax.training.terms import resolve

pytestmark = pytest.mark.usefixtures("quick_compilation")


class Case:
  """Student and teacher of two cascades, and random images."""

  def __init__(self):
    self.slices, self.acquisition, models, params = small_problem(batch=2)
    self.batch = jax.jit(complete)(self.slices, self.acquisition)
    self.models = models["student"], models["teacher"]
    self.params = jax.device_get((params["student"], params["teacher"]))
    self.images = self.batch.zero_filled, self.batch.measurement

  def chain(self, params, *of_teacher):
    return run_chain(self.models, params, *self.images, jnp.array(of_teacher))

  def alone(self, k):
    return run_alone(self.models[k], self.params[k], *self.images)[1]


@pytest.fixture(scope="module")
def case():
  return Case()


run_chain = jax.jit(swapping.chain, static_argnums=0)
run_alone = jax.jit(feature_lib.apply, static_argnums=0)


def test_a_chain_of_one_network_is_that_network(case):
  for k in (0, 1):
    found, expected = case.chain(case.params, k == 1, k == 1), case.alone(k)
    assert found.keys() == {"consistency_1", "consistency_2", "image"}
    for name, image in found.items():
      np.testing.assert_array_equal(image, expected[name])


def test_shared_weights_serve_every_cascade(case):
  shared = DCCNN(2, 2, 4, shared=True)
  params = jax.jit(shared.init)(jax.random.key(3), *case.images)["params"]
  models, params = (shared, case.models[1]), (params, case.params[1])
  found = run_chain(models, params, *case.images, jnp.array([False, False]))
  expected = run_alone(shared, params[0], *case.images)[1]
  np.testing.assert_array_equal(found["image"], expected["image"])


def in_float64(params, of_teacher, zero_filled, kspace, mask):
  """The image of a chain, in NumPy."""
  image = np.asarray(zero_filled, np.float64)
  for c, k in enumerate(of_teacher, 1):
    layers = params[k][f"cascade_{c}"]
    x = image
    for n in range(1, len(layers) + 1):
      kernel, bias = (np.asarray(layers[f"conv_{n}"][p], float) for p in PARTS)
      padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
      rows, columns = x.shape[1:3]
      x = bias + sum(
        padded[:, i : i + rows, j : j + columns] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
      )
      x = np.maximum(x, 0) if n < len(layers) else x
    guess = np.fft.fft2((image + x)[..., 0], norm="ortho")
    mixed = np.where(mask, kspace, guess)
    image = np.fft.ifft2(mixed, norm="ortho").real[..., None]
  return image


PARTS = ("kernel", "bias")


@pytest.mark.parametrize("of_teacher", [(False, True), (True, False)])
def test_value_and_gradient_are_those_of_the_composition(case, of_teacher):
  """By a difference of the NumPy version along a random direction of all weights.

  In the first case the gradient reaches the student through the teacher's cascade.
  """
  target, rng = case.slices.target, np.random.default_rng(3)
  inputs = (case.batch.zero_filled, *map(np.asarray, case.batch.measurement))

  def loss(student):
    image = case.chain((student, case.params[1]), *of_teacher)["image"]
    return jnp.square(image - target).sum()

  def reference(student):
    params = student, case.params[1]
    return np.square(in_float64(params, of_teacher, *inputs) - target).sum()

  student = jax.tree.map(lambda x: np.asarray(x, float), case.params[0])
  value, gradient = jax.value_and_grad(loss)(case.params[0])
  assert float(value) == pytest.approx(reference(student), rel=1e-5)
  along = jax.tree.map(lambda x: rng.normal(size=x.shape), student)
  ahead, behind = (
    reference(jax.tree.map(lambda x, v, e=e: x + e * v, student, along))
    for e in (1e-6, -1e-6)
  )
  slope = float(optax.tree.vdot(gradient, along))
  assert slope == pytest.approx((ahead - behind) / 2e-6, rel=2e-4)
  own = jax.tree.map(lambda x: np.abs(x).max(), gradient)
  moved = [max(jax.tree.leaves(own[f"cascade_{c}"])) > 1e-3 for c in (1, 2)]
  assert moved == [not each for each in of_teacher]


@pytest.mark.parametrize("step", [0, 2, 5, 8, 10, 30])
def test_the_probability_falls_from_one_to_none(step):
  """Of n cascades a share p - p**n / n is the teacher's, as one is always left."""
  keys = jax.random.split(jax.random.key(0), 4000)
  drawn = jax.vmap(lambda key: swapping.draw(key, step, 10, 4))(keys)
  drawn = np.asarray(drawn)
  p = max(0.0, 1 - step / 10)
  assert drawn.mean() == pytest.approx(p - p**4 / 4, abs=0.015)
  assert (drawn.sum(axis=1) <= 3).all()
  if step == 0:
    assert (drawn.sum(axis=1) == 3).all()
  np.testing.assert_allclose(drawn.mean(axis=0), drawn.mean(), atol=0.03)


def make(case, devices, swap_steps):
  """The compiled steps, the state to start from, and the teacher."""
  layers = tuple(f"cascade_{c}/activation_2" for c in (1, 2))
  attention = TermConfig("attention_transfer", 0.1, "paper", layers, layers)
  stage = small_stage("paper", "kd")
  terms = {**stage.terms, "attention": attention}
  stage = dataclasses.replace(stage, terms=terms)
  networks = Networks(
    case.models[0], resolve(stage), case.models[1:], swap_steps=swap_steps, seed=7
  )
  terms = fit_terms(networks, case.slices, case.acquisition, "kd")
  optimiser = optax.adam(3e-3)
  steps = make_steps(networks._replace(terms=terms), optimiser, devices)
  state = init_state(case.params[0], {}, optimiser)
  return steps, state, Teacher((case.params[1],), np.float32(1))


def test_training_steps_take_the_drawn_cascades(case):
  """Their images enter the terms; all other layers are the student's own."""
  steps, state, teacher = make(case, jax.devices()[:1], 6)
  arguments = teacher, case.slices, case.acquisition
  errors, alone = jax.device_get(steps.validate(state, *arguments))
  expected = np.square(case.alone(0)["image"] - case.slices.target)
  np.testing.assert_allclose(errors["mse"], expected.mean(axis=(1, 2, 3)), rtol=1e-5)
  drawn = []
  for step in range(4):
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), step), _SWAP)
    drawn.append(tuple(np.asarray(swapping.draw(key, step, 6, 2)).tolist()))
    weights = jax.device_get(state.params)
    state, values = steps.train(state, *arguments)
    image = case.chain((weights, case.params[1]), *drawn[-1])["image"]
    error = np.abs(image - case.slices.target).mean()
    assert values["reconstruction"] == pytest.approx(error, rel=1e-5)
    if step == 0:
      assert values["attention"] == pytest.approx(alone["attention"], rel=1e-6)
      assert values["reconstruction"] != pytest.approx(alone["reconstruction"], 1e-4)
  assert len(set(drawn)) > 1


def trained(case, devices, swap_steps, count, many=False, state=None):
  """Values of some steps, the last state and the validation."""
  steps, fresh, teacher = make(case, devices, swap_steps)
  state, arguments = state or fresh, (teacher, case.slices)
  if many:
    rows = np.tile(np.arange(len(case.slices.target)), (count, 1))
    state, values = steps.train_many(state, *arguments, rows, case.acquisition)
    values = [{k: v[i] for k, v in values.items()} for i in range(count)]
  else:
    values = []
    for _ in range(count):
      state, value = steps.train(state, *arguments, case.acquisition)
      values.append(jax.device_get(value))
  validation = steps.validate(state, *arguments, case.acquisition)
  return jax.device_get((values, state, validation))


@pytest.mark.slow
def test_steps_after_the_last_swap_are_those_of_the_student_alone(case):
  one = jax.devices()[:1]
  _, after, _ = trained(case, one, 1, 1)
  found = trained(case, one, 1, 2, state=after)
  expected = trained(case, one, 0, 2, state=after)
  assert_close(found, expected, atol=1e-6)


@pytest.mark.slow
def test_one_device_two_devices_and_one_dispatch_are_the_same(case):
  one = trained(case, jax.devices()[:1], 6, 4)
  assert_close(one, trained(case, jax.devices()[:2], 6, 4), atol=1e-5)
  assert_close(one, trained(case, jax.devices()[:1], 6, 4, many=True), atol=1e-6)


@pytest.mark.parametrize(
  ("student", "teacher", "found"),
  [
    (DCCNN(2), DCCNN(3), "a DCCNN of 2 cascades, and a DCCNN of 3 cascades"),
    (DCCNN(1), DCCNN(1), "a DCCNN of 1 cascades, and a DCCNN of 1 cascades"),
    (DCCNN(2), VDSR(), "a DCCNN of 2 cascades, and a VDSR as its teacher"),
    (VDSR(), DCCNN(2), "a VDSR, and a DCCNN of 2 cascades"),
    (DCCNN(2), None, "and given images as its teacher"),
  ],
)
def test_other_networks_are_refused(student, teacher, found):
  with pytest.raises(ArgumentError, match=rf"swap: found .*{found}"):
    swapping.check(student, teacher)
