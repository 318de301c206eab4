"""SFT-KD-Recon: the teacher trained together with its student's branches."""

import jax
import numpy as np
import pytest
from helpers.tiny import make, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax import interop
from kdmri_jax.experiments import base
from kdmri_jax.models.branches import Branches
from kdmri_jax.training import objective
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_networks import Networks, complete, forward
from kdmri_jax.training.stage_shapes import fit_terms
from kdmri_jax.training.terms import resolve
from kdmri_jax.types import Acquisition, Slices


def weights(numbers, prefix, network):
  """The original's weights, or gradients, of its teacher (t) or student (s)."""
  start = f"{prefix}/{network}"
  state = {k.removeprefix(start): v for k, v in numbers.items() if k.startswith(start)}
  return interop.from_kdmri_state_dict(state)


def test_outputs_losses_and_gradients_of_the_published_code(golden):
  numbers = golden("sft_40x44")
  model, variables = weights(numbers, "net", "t")
  student, student_variables = weights(numbers, "net", "s")
  model, student = model.copy(padding=5), student.copy(padding=5)
  stage = base.get_config("reference")
  base.student_friendly_teacher(stage, "reference")
  stage = config_lib.parse(stage).stages["teacher"]
  slices = Slices(
    numbers["target"][..., None], numbers["kspace"], numbers["zero_filled"][..., None]
  )
  networks = Networks(model, resolve(stage), branches=Branches(student))
  terms = fit_terms(networks, slices, Acquisition(numbers["mask"][None]), "teacher")
  batch = complete(slices, Acquisition(numbers["mask"][None]))
  inputs = objective.undrawn(batch)

  def loss(params, blocks):
    auxiliary = {"branches": {"student": blocks}}
    _, features = forward(networks, params, auxiliary, batch)
    values = objective.evaluate(terms, auxiliary, features, inputs)
    return objective.total(terms, values), (values, features)

  blocks = dict(student_variables["params"])
  first = blocks.pop("cascade_1")
  differentiate = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
  (total, (values, features)), (gradient, of_blocks) = differentiate(
    variables["params"], blocks
  )
  for i in range(1, 5):
    np.testing.assert_allclose(
      features[f"branch_{i}"][..., 0], numbers[f"branch_{i}"], atol=1e-6
    )
  np.testing.assert_allclose(features["image"][..., 0], numbers["branch_5"], atol=1e-6)
  assert float(total) == pytest.approx(float(numbers["loss"]), abs=3e-7)
  assert float(values["reconstruction"]) == pytest.approx(
    float(numbers["loss_teacher"]), abs=3e-7
  )
  assert 4 * float(values["branches_reconstruction"]) == pytest.approx(
    float(numbers["loss_student_sum"]), abs=1e-6
  )
  assert 4 * float(values["branches_imitation"]) == pytest.approx(
    float(numbers["loss_imitation_sum"]), rel=1e-5
  )
  _, expected = weights(numbers, "grad", "t")
  _, expected_blocks = weights(numbers, "grad", "s")
  untrained = expected_blocks["params"].pop("cascade_1")
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(untrained))
  assert first.keys() == untrained.keys()
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-7),
    (gradient, of_blocks),
    (expected["params"], expected_blocks["params"]),
  )


def test_the_gradient_of_the_imitation_reaches_the_teacher():
  """Neither the paper nor the code stops it."""
  config = tiny_config()
  base.student_friendly_teacher(config, "paper")
  terms = resolve(config_lib.parse(config).stages["teacher"])
  imitation = next(t for t in terms if t.name == "branches_imitation")
  assert imitation.own
  assert not imitation.needs_teacher


@pytest.fixture(scope="module")
def befriended(tmp_path_factory):
  config = tiny_config()
  base.student_friendly_teacher(config, "paper")
  for stage in config.stages.values():
    for term in stage.terms.values():
      term.guided = tuple(layer for layer in term.guided if layer != "branch_2")[:2]
      if "branch_1" in term.guided:
        term.guided = ("branch_1",)
  config.stages.feature.start_from = "teacher/branches"
  pipeline = Experiment(
    config_lib.parse(config), tmp_path_factory.mktemp("sft") / "run"
  )
  train(pipeline, ["teacher"])
  return pipeline


@pytest.mark.slow
def test_the_student_may_start_from_the_blocks_it_learnt(befriended):
  fresh = befriended.initial_params("feature")
  start = befriended.start_params("feature")
  assert start.keys() == fresh.keys() == {"cascade_1", "cascade_2"}
  jax.tree.map(np.testing.assert_array_equal, start["cascade_1"], fresh["cascade_1"])
  differences = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), start["cascade_2"], fresh["cascade_2"]
  )
  assert max(jax.tree.leaves(differences)) > 1e-3


@pytest.mark.slow
def test_the_teacher_is_a_plain_network_afterwards(befriended, tmp_path):
  plain = make(tmp_path).initial_params("teacher")
  assert jax.tree.structure(befriended.best("teacher")) == jax.tree.structure(plain)
