"""Training steps in which a teacher becomes its student."""

import jax
import numpy as np
import pytest
from helpers.small_step import assert_close, small_problem, small_stage

from kdmri_jax.models import features, kernels
from kdmri_jax.training.optimiser import adam
from kdmri_jax.training.stage_networks import Networks, Teacher, as_trained, complete
from kdmri_jax.training.stage_shapes import fit_terms
from kdmri_jax.training.step import init_state, make_steps
from kdmri_jax.training.terms import resolve

pytestmark = pytest.mark.usefixtures("quick_compilation")


class Case:
  """Student and teacher of two cascades, and random images."""

  def __init__(self):
    self.slices, self.acquisition, self.models, params = small_problem(batch=2)
    self.params = jax.device_get(params)
    batch = complete(self.slices, self.acquisition)
    self.images = batch.zero_filled, batch.measurement

  def make(self, devices, form="plain"):
    """The compiled steps, the state to start from, and the teacher."""
    networks = Networks(
      self.models["student"],
      resolve(small_stage("paper", "kd")),
      (self.models["teacher"],),
      shrink_steps=4,
      kernels=form,
    )
    terms = fit_terms(networks, self.slices, self.acquisition, "kd")
    networks, optimiser = networks._replace(terms=terms), adam(lambda step: 3e-3)
    taught = (self.params["teacher"],)
    trained = as_trained(networks, self.params["student"], {}, taught)
    steps = make_steps(networks, optimiser, devices)
    return steps, init_state(*trained, optimiser), Teacher(taught, np.float32(1))

  def image(self, role, params):
    return run_alone(self.models[role], params, *self.images)[1]["image"]

  def trained(self, devices, count=6):
    """Values of some steps, the last state and the validation."""
    steps, state, teacher = self.make(devices)
    values, arguments = [], (teacher, self.slices, self.acquisition)
    for _ in range(count):
      state, value = steps.train(state, *arguments)
      values.append(jax.device_get(value))
    return jax.device_get((values, state, steps.validate(state, *arguments)))


run_alone = jax.jit(features.apply, static_argnums=0)


@pytest.fixture(scope="module")
def case():
  return Case()


def error(image, other):
  return pytest.approx(float(np.abs(np.asarray(image) - other).mean()), rel=2e-4)


@pytest.mark.parametrize("form", ["plain", *kernels.FORMS])
def test_it_begins_as_the_teacher_and_goes_on_as_the_student(case, form):
  steps, state, teacher = case.make(jax.devices()[:1], form)
  nodes = jax.tree.leaves(state.params.params, is_leaf=kernels.is_split)
  assert sum(map(kernels.is_split, nodes)) == (0 if form == "plain" else 2 * 5)
  arguments, target = (teacher, case.slices, case.acquisition), case.slices.target
  image = case.image("teacher", case.params["teacher"])
  for step in range(6):
    weights = jax.device_get(state.params)
    student = case.image("student", kernels.merge(weights))
    errors = steps.validate(state, *arguments)[0]
    assert errors["l1"].mean() == error(student, target)
    state, values = steps.train(state, *arguments)
    if step == 0:
      assert values["imitation"] < (1e-6 if form == "expanded" else 1e-12)
      assert values["reconstruction"] == error(image, target)
      assert values["reconstruction"] != error(student, target)
    if step >= 4:
      assert values["reconstruction"] == error(student, target)
      assert values["imitation"] == error(student, image)


def test_the_audit_is_of_the_weights_that_are_trained(case):
  steps, state, teacher = case.make(jax.devices()[:1])
  found = steps.audit(state, teacher, case.slices, case.acquisition)
  assert found["imitation"]["norm"] < 1e-5  # it still is the teacher
  assert found["reconstruction"]["cosine"] == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_one_device_and_two_devices_are_the_same(case):
  one, two = case.trained(jax.devices()[:1]), case.trained(jax.devices()[:2])
  assert_close(one, two, atol=1e-5)
