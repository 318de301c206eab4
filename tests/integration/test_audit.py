"""The audit of a stage's terms: what each contributes to the gradient."""

import jax
import numpy as np
import pytest
from helpers.small_step import make as make_steps
from helpers.small_step import small_problem, small_stage
from helpers.tiny import make, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.losses import pixel
from kdmri_jax.training import log
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_networks import complete

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


@pytest.mark.parametrize("devices", [1, 8])
def test_norms_and_cosines_are_those_of_the_terms_gradients(devices):
  slices, mask, models, params = small_problem()
  stage = small_stage("paper", "kd")
  steps, state, teacher = make_steps(
    stage, models, params, slices, mask, jax.devices()[:devices]
  )
  measured = jax.device_get(steps.audit(state, teacher, slices, mask))
  batch = complete(slices, mask)

  def apply(role, weights):
    variables = {"params": weights}
    return models[role].apply(variables, batch.zero_filled, batch.measurement).image

  taught = apply("teacher", params["teacher"])

  @jax.jit
  def gradient_towards(image):
    return jax.grad(lambda p: pixel.l1(apply("student", p), image).mean())(state.params)

  gradients = {
    "reconstruction": gradient_towards(batch.target),
    "imitation": gradient_towards(taught),
  }
  flat = {
    name: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    for name, tree in gradients.items()
  }
  reference = flat["reconstruction"] / np.linalg.norm(flat["reconstruction"])
  for name, gradient in flat.items():
    norm = np.linalg.norm(gradient)
    assert measured[name]["norm"] == pytest.approx(0.5 * norm, rel=1e-4)
    cosine = gradient @ reference / norm
    assert measured[name]["cosine"] == pytest.approx(cosine, abs=1e-4)


def test_the_published_imitation_is_called_out_by_name(tmp_path, caplog):
  config = tiny_config("reference", audit_every=3)
  config.data.phantom.size = (48, 40)
  for stage in config.stages.values():
    stage.learning_rate = 1e-3
  pipeline = Experiment(config_lib.parse(config), tmp_path)
  train(pipeline, ["teacher", "feature", "kd"])
  calls = [r.getMessage() for r in caplog.records if "contributes" in r.getMessage()]
  assert len(calls) == 1
  assert "kd: the term imitation contributes" in calls[0]
  lines = log.read(pipeline.workdir.stage("kd") / "metrics.jsonl")
  audits = [line for line in lines if line["event"] == "audit"]
  assert [line["step"] for line in audits] == [0, 3, 6, 9]
  for line in audits:
    terms = line["terms"]
    assert terms["imitation"]["share"] < 1e-3
    assert sum(term["share"] for term in terms.values()) == pytest.approx(1)
    assert terms["reconstruction"]["cosine"] == pytest.approx(1, abs=1e-5)


def test_the_papers_imitation_is_not(tmp_path, caplog):
  train(make(tmp_path, audit_every=5), ["teacher", "feature", "kd"])
  assert "contributes" not in caplog.text


def test_a_term_may_be_absent_at_the_start(tmp_path, caplog):
  """Imitation is, where the student begins as its teacher."""
  stage = log.StageLog(tmp_path, "kd", step=0, total=9)
  terms = {"imitation": 0.0, "reconstruction": 1.0}
  measured = {name: dict(value=1, norm=n, cosine=1) for name, n in terms.items()}
  stage.audit(0, measured)
  assert "contributes" not in caplog.text
  stage.audit(5, measured)
  assert "imitation contributes 0.0e+00 of the gradient at step 5" in caplog.text
  stage.close()
