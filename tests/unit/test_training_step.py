"""Train steps: golden trajectories, one device against eight, cached teachers."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import convolutions
from helpers.marks import slow
from helpers.small_step import assert_close, make, run, small_problem, small_stage

from kdmri_jax import config as config_lib
from kdmri_jax import interop
from kdmri_jax.experiments import base
from kdmri_jax.ops import convolution, layer
from kdmri_jax.training import batches, objective
from kdmri_jax.training.optimiser import make_schedule
from kdmri_jax.training.terms import resolve
from kdmri_jax.types import Acquisition, Slices

quick = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("in_native", [True, slow(False)])
@pytest.mark.parametrize("name", ["recon_48x40_rows", slow("recon_36x50_cols")])
@pytest.mark.parametrize("stage_name", [slow("teacher"), "feature", "kd"])
def test_three_steps_of_the_published_code(golden, name, stage_name, in_native):
  numbers = golden(name)
  networks = {
    role: interop.from_kdmri_state_dict(
      {k.split("/")[1]: v for k, v in numbers.items() if k.startswith(f"{role}/")}
    )
    for role in ("teacher", "student")
  }
  models = {role: model for role, (model, _) in networks.items()}
  params = {role: variables["params"] for role, (_, variables) in networks.items()}
  stage = config_lib.parse(base.get_config("reference")).stages[stage_name]
  slices = Slices(
    numbers["target"][..., None], numbers["kspace"], numbers["zero_filled"][..., None]
  )
  acquisition = Acquisition(numbers["mask"][None])
  losses = []
  with contextlib.nullcontext() if in_native else convolution.xla_alone():
    steps, state, teacher = make(
      stage, models, params, slices, acquisition, jax.devices()[:1]
    )
    for _ in range(3):
      state, values = steps.train(state, teacher, slices, acquisition)
      losses.append(float(values["loss"]))
  # One pixel of cascade 2 lies on a kink of this loss: rounding chooses its gradient.
  on_a_kink = (stage_name, name) == ("feature", "recon_36x50_cols")
  expected = numbers[f"traj_{stage_name}_losses"]
  np.testing.assert_allclose(losses, expected, atol=2e-5 if on_a_kink else 1e-6)
  prefix = f"traj_{stage_name}/"
  _, expected = interop.from_kdmri_state_dict(
    {k[len(prefix) :]: v for k, v in numbers.items() if k.startswith(prefix)}
  )
  assert_trained_alike(state.params, expected["params"])


def assert_trained_alike(params, expected):
  """Adam divides by the gradient's size, so rounding shows where it is near zero."""
  leaves = jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b), params, expected))
  difference = np.concatenate([leaf.ravel() for leaf in leaves])
  assert difference.mean() < 3e-6
  assert (difference > 1e-4).mean() <= 0.002


@quick
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["paper", "reference"])
@pytest.mark.parametrize("name", ["teacher", "student", "feature", "kd"])
def test_eight_devices_give_the_numbers_of_one(protocol, name):
  stage = small_stage(protocol, name)
  one = run(stage, jax.devices()[:1])
  eight = run(stage, jax.devices()[:8])
  assert_close(one, eight, atol=1e-5)


@quick
@pytest.mark.parametrize("name", [slow("teacher"), slow("student"), slow("feature")])
def test_native_code_trains_as_xla_does_on_one_device_and_on_eight(name):
  """Not kd: its L1 distance has a kink at pixels where untrained networks agree."""
  stage = small_stage("paper", name)
  with convolution.xla_alone():
    expected = run(stage, jax.devices()[:1], features=32)
  for count in (1, 8):
    found = run(stage, jax.devices()[:count], features=32)
    assert_trained_alike(found[0], expected[0])
    assert_close(found[1:], expected[1:], 1e-6)


@quick
@pytest.mark.slow
@pytest.mark.parametrize("name", ["student", "feature"])
def test_kernels_for_gpus_train_as_xla_does(name, monkeypatch):
  """Interpreted, as there is no GPU; see the test above."""
  stage = small_stage("paper", name)
  with convolution.xla_alone():
    expected = run(stage, jax.devices()[:1], features=32)
  code = convolutions.interpreted()
  monkeypatch.setattr(layer, "pallas", lambda: code)
  monkeypatch.setattr(convolution, "_choose", lambda _, __, by, ___, *given: by(*given))
  for count in (1, 2):
    found = run(stage, jax.devices()[:count], features=32)
    assert_trained_alike(found[0], expected[0])
    assert_close(found[1:], expected[1:], 1e-6)


@quick
@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher", "student", "feature", "kd"])
def test_training_lowers_the_loss(name):
  stage = dataclasses.replace(small_stage("paper", name), learning_rate=3e-3)
  _, values, _ = run(
    stage, jax.devices()[:1], hints=name in ("feature", "kd"), count=60
  )
  losses = [value["loss"] for value in values]
  assert losses[-1] < 0.95 * losses[0]


@quick
@pytest.mark.slow
def test_eight_devices_on_complex_images():
  stage = small_stage("paper", "kd")
  one = run(stage, jax.devices()[:1], channels=2)
  assert_close(one, run(stage, jax.devices()[:8], channels=2), atol=1e-5)


@quick
@pytest.mark.slow
@pytest.mark.parametrize(
  ("protocol", "name", "devices"),
  [("paper", "feature", 1), ("paper", "kd", 1), ("reference", "feature", 2)],
)
def test_a_cached_teacher_teaches_the_same(protocol, name, devices):
  stage = small_stage(protocol, name)
  devices = jax.devices()[:devices]
  assert_close(run(stage, devices), run(stage, devices, hints=True), atol=1e-6)


@quick
def test_no_gradient_reaches_the_teacher():
  stage = small_stage("paper", "feature")
  terms = resolve(stage)
  features = {f"cascade_{c}/activation_3": jnp.ones((2, 4, 4, 3)) for c in (1, 2)}
  features["image"] = target = jnp.ones((2, 4, 4, 1))

  def loss(features):
    hints = objective.represent_teachers(terms, [features], target)
    return sum(x.sum() for x in jax.tree.leaves(hints))

  assert all((g == 0).all() for g in jax.tree.leaves(jax.grad(loss)(features)))


@quick
@pytest.mark.slow
def test_a_term_of_weight_zero_is_measured_but_not_trained_on():
  stage = small_stage("reference", "feature")
  _, values, (_, validation) = run(stage, jax.devices()[:1])
  assert set(values[0]) == {"attention", "loss", "gradient_norm"}
  assert {"attention", "attention_square", "loss"} == set(validation)
  assert validation["loss"] == pytest.approx(validation["attention"])


@quick
def test_the_learning_rate_drops_by_ten_every_forty_epochs():
  stage = small_stage("reference", "teacher")
  schedule = make_schedule(stage, steps_per_epoch=7)
  assert schedule(40 * 7 - 1) == pytest.approx(1e-3)
  assert schedule(40 * 7) == pytest.approx(1e-4)
  assert schedule(80 * 7) == pytest.approx(1e-5)
  constant = make_schedule(small_stage("paper", "teacher"), 7)
  assert constant(1000 * 7) == pytest.approx(1e-4)


@quick
@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher", "feature", "kd"])
def test_many_steps_in_one_dispatch_give_the_numbers_of_single_ones(name):
  stage = small_stage("paper", name)
  slices, acquisition, models, params = small_problem()
  rows = np.array([[0, 3, 5], [7, 1, 2], [4, 6, 0]])
  devices = jax.devices()[:1]

  steps, state, teacher = make(stage, models, params, slices, acquisition, devices)
  singly = []
  for chosen in rows:
    batch = batches.take(slices, chosen)
    state, values = steps.train(state, teacher, batch, acquisition)
    singly.append(values)
  steps, many, teacher = make(stage, models, params, slices, acquisition, devices)
  many, values = steps.train_many(many, teacher, slices, rows, acquisition)
  assert many.step == state.step == 3
  for key, each in values.items():
    np.testing.assert_allclose(each, [float(v[key]) for v in singly], rtol=1e-4)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), many.params, state.params
  )


class TestGroups:
  ORDER = batches.in_order([22], 2)  # 11 batches

  def positions(self, order, *arguments):
    """Where in the order the batches of each dispatch stand."""
    groups = batches.group(order, *arguments)
    place = {(b.part, *b.rows): k for k, b in enumerate(order)}
    return [[place[b.part, *b.rows] for b in group] for group in groups]

  def test_whole_groups_then_the_rest(self):
    found = self.positions(self.ORDER, 0, 4)
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]

  def test_an_epoch_goes_on_with_the_same_groups(self):
    whole = self.positions(self.ORDER, 0, 4)
    for done in (4, 8, 11):
      rest = self.positions(self.ORDER, done, 4)
      assert rest == [group for group in whole if group[0] >= done]
    assert self.positions(self.ORDER, 5, 4) == [[5], [6], [7], whole[-1]]

  def test_a_group_has_one_part(self):
    order = batches.in_order([8, 8], 2)
    order = [order[k] for k in (0, 1, 2, 4, 3, 5, 6, 7)]
    found = self.positions(order, 0, 2)
    assert found == [[0, 1], [2], [3], [4], [5], [6, 7]]

  def test_batches_that_are_alike_follow_each_other(self):
    order = batches.in_order([5, 2, 4], 2)
    groups = [[(b.part, len(b.rows)) for b in g] for g in batches.alike(order)]
    assert groups == [[(0, 2)] * 2, [(0, 1)], [(1, 2)], [(2, 2)] * 2]


class TestOrder:
  def test_an_epoch_visits_every_slice(self):
    order = batches.epoch_order([10], 4, seed=1, epoch=0)
    rows = np.stack([batch.rows for batch in order])
    assert rows.shape == (3, 4)
    assert sorted(rows.ravel()[:10]) == list(range(10))
    np.testing.assert_array_equal(rows.ravel()[10:], rows.ravel()[:2])

  def test_batches_of_several_parts_are_shuffled(self):
    order = batches.epoch_order([10, 3, 7], 4, seed=1, epoch=0)
    assert len(order) == batches.steps_per_epoch([10, 3, 7], 4) == 6
    numbers = [batch.part for batch in order]
    assert sorted(numbers) == [0, 0, 0, 1, 2, 2] != numbers
    for part, count in enumerate([10, 3, 7]):
      rows = np.concatenate([batch.rows for batch in order if batch.part == part])
      assert set(rows) == set(range(count))

  def test_it_depends_on_seed_and_epoch_only(self):
    def rows(seed, epoch):
      order = batches.epoch_order([30, 5], 4, seed, epoch)
      return [(batch.part, batch.rows.tolist()) for batch in order]

    orders = [rows(seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert orders[0] == rows(1, 0)
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])

  def test_fewer_slices_than_a_batch(self):
    (batch,) = batches.epoch_order([3], 8, 0, 0)
    assert batch.rows.shape == (8,)

  def test_in_order(self):
    plain = [(b.part, b.rows.tolist()) for b in batches.in_order([5, 2], 4)]
    assert plain == [(0, [0, 1, 2, 3]), (0, [4]), (1, [0, 1])]
    filled = [b.rows.tolist() for b in batches.in_order([5, 2], 4, fill=True)]
    assert filled == [[0, 1, 2, 3], [4, 0, 1, 2], [0, 1, 0, 1]]
