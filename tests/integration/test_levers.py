"""Whole trainings with other optimisers, schedules, clipping and averaged weights."""

import json
import sys

import jax
import numpy as np
import pytest
from helpers.tiny import (
  assert_same_end,
  final,
  history,
  make,
  stop_in_dispatch,
  tiny_config,
  train,
)

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.experiments import base
from kdmri_jax.models import kernels
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_folder import StageFolder

pytestmark = pytest.mark.usefixtures("quick_compilation")

LEVERS = dict(
  optimiser="muon",
  optimiser_settings={"momentum": 0.9},
  schedule="cosine",
  warmup=0.2,
  clip=0.05,
  ema=0.99,
  kernels="expanded",
)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_end(tmp_path, monkeypatch):
  def experiment(name):
    config = tiny_config(devices=1)
    base.for_all_stages(config, **LEVERS)
    return Experiment(config_lib.parse(config), tmp_path / name)

  train(experiment("whole"), ["student"])
  with monkeypatch.context() as patch:
    stop_in_dispatch(patch, 7)
    with pytest.raises(Interrupted):
      train(experiment("parts"), ["student"])
  stopped = experiment("parts")
  assert stopped.progress("student").step == 7
  train(stopped, ["student"])
  ends = [final(tmp_path / name, "student") for name in ("whole", "parts")]
  assert_same_end(*ends)
  lines = [history(tmp_path / name, "student") for name in ("whole", "parts")]
  assert lines[0] == lines[1]
  rates = [line["learning_rate"] for line in lines[0]]
  assert rates == pytest.approx([3e-3 * 0.8535534, 3e-3 * 0.0380602], rel=1e-4)
  end = ends[0]
  average = end.state.validated[0]
  if end.progress.best_epoch == 2:
    jax.tree.map(np.testing.assert_array_equal, end.best, average)
  differences = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), average, kernels.merge(end.state.params)
  )
  assert max(jax.tree.leaves(differences)) > 1e-4


@pytest.mark.slow
def test_branches_adapters_and_starts_with_all_levers(tmp_path, monkeypatch):
  """A student-friendly teacher, then a student from its blocks, with a regressor."""

  def run(path, **changes):
    config = tiny_config(**changes)
    base.student_friendly_teacher(config, "paper")
    terms = config.stages.teacher.terms
    for name in ("branches_reconstruction", "branches_imitation"):
      terms[name].guided = ("branch_1",)
    config.stages.feature.terms.attention.update(loss="fitnets", variant="paper")
    config.stages.feature.start_from = "teacher/branches"
    config.audit_every = 3
    base.for_all_stages(config, **(LEVERS | dict(kernels="parallel")))
    config.models.teacher.features = 6
    pipeline = Experiment(config_lib.parse(config), path)
    train(pipeline, ["teacher", "feature", "kd"])
    found = [history(path, name) for name in ("teacher", "feature", "kd")]
    return found, [pipeline.best(name) for name in ("teacher", "feature", "kd")]

  expected, best = run(tmp_path / "a", devices=1, steps_per_dispatch=2)
  for number in (2, 5):
    with monkeypatch.context() as patch:
      stop_in_dispatch(patch, number)
      with pytest.raises(Interrupted):
        run(tmp_path / "b", devices=1, steps_per_dispatch=2)
  lines, again = run(tmp_path / "b", devices=1, steps_per_dispatch=2)
  assert lines == expected
  jax.tree.map(np.testing.assert_array_equal, again, best)
  _, on_two = run(tmp_path / "c", devices=2, audit_every=0)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), on_two, best)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on(tmp_path):
  """Its records lack the settings that this version added."""
  pipeline = make(tmp_path)
  train(pipeline, ["student"])
  record = tmp_path / "seed_42" / "student" / "trained_with.json"
  config = tmp_path / "config.json"
  for path, stages_of in (
    (record, lambda values: [values["stage"]]),
    (config, lambda values: values["stages"].values()),
  ):
    values = json.loads(path.read_text())
    del values["crc32"]
    for stage in stages_of(values):
      for key in (*LEVERS, "optimiser_settings"):
        stage.pop(key, None)
    path.write_text(json.dumps(values))
  again = make(tmp_path)
  train(again, ["student"])
  jax.tree.map(
    np.testing.assert_array_equal, again.best("student"), pipeline.best("student")
  )
  changed = tiny_config()
  changed.stages.student.schedule = "cosine"
  with pytest.raises(UserError, match="schedule: 'step' there, 'cosine' here"):
    train(Experiment(config_lib.parse(changed), tmp_path), ["student"])


@pytest.mark.slow
@pytest.mark.parametrize(
  ("settings", "source"),
  [(dict(kernels="parallel"), "random"), (dict(start_from="teacher/layers"), "layers")],
)
def test_a_student_of_a_given_teacher(finished_teacher, tmp_path, settings, source):
  """It is trained with a lever and kept as a plain network, which can be given on."""
  config = tiny_config(epochs=1)
  config.stages.teacher.given = str(finished_teacher / "teacher")
  config.stages.student.update(settings)
  pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  train(pipeline, ["student"])
  teacher, start = pipeline.best("teacher"), pipeline.start_params("student")
  if source == "layers":
    for cascade in ("cascade_1", "cascade_2"):
      for own, other in ((1, 1), (2, 2), (3, 5)):
        jax.tree.map(
          np.testing.assert_array_equal,
          start[cascade][f"conv_{own}"],
          teacher[cascade][f"conv_{other}"],
        )
  record = StageFolder(tmp_path / "run" / "seed_42" / "student").record()
  assert record["stage"] == {**record["stage"], **settings}
  known = {"teacher": pipeline.origin("teacher").digests["best"]}
  assert record["weights_of"] == (known if source == "layers" else {})
  best = pipeline.best("student")
  assert jax.tree.map(np.shape, best) == jax.tree.map(np.shape, start)
  loaded = kd.load(tmp_path / "run", "student").parameters
  jax.tree.map(np.testing.assert_array_equal, loaded, best)
  config.stages.student.given = str(tmp_path / "run" / "student")
  other = Experiment(config_lib.parse(config), tmp_path / "other")
  jax.tree.map(np.testing.assert_array_equal, other.best("student"), best)


@pytest.fixture(scope="module")
def finished_teacher(tmp_path_factory):
  path = tmp_path_factory.mktemp("levers") / "teacher"
  pipeline = make(path, epochs=1)
  train(pipeline, ["teacher"])
  return path


@pytest.fixture
def own(tmp_path, monkeypatch):
  (tmp_path / "own_optimiser.py").write_text(
    "import optax\n"
    "def signs(learning_rate, momentum=0.9):\n"
    "  return optax.chain(\n"
    "    optax.trace(momentum), optax.scale_by_sign(),\n"
    "    optax.scale_by_learning_rate(learning_rate))\n"
    "def named(learning_rate):\n"
    "  return optax.partition({'a': optax.sgd(learning_rate)}, {'w': 'a'})\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  yield
  sys.modules.pop("own_optimiser", None)


def test_an_optimiser_of_ones_own(own, tmp_path):
  config = tiny_config(epochs=1, devices=1)
  base.for_all_stages(
    config, optimiser="own_optimiser:signs", optimiser_settings={"momentum": 0.0}
  )
  pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  train(pipeline, ["student"])
  start = pipeline.initial_params("student")
  moved = jax.tree.map(
    lambda a, b: np.abs(a - b) / 3e-3, pipeline.best("student"), start
  )
  for steps in jax.tree.leaves(moved):  # 5 steps by the learning rate, up or down
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-2)
    assert set(np.unique(np.round(steps))) <= {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(optimiser="own_optimiser:named"), r"optimiser: found .*which fails"),
    (dict(optimiser="own_optimiser:none"), "optimiser: found .*AttributeError"),
    (
      dict(optimiser="muon", optimiser_settings={"momentun": 0.9}),
      "optimiser_settings: found .*momentun",
    ),
    (dict(kernels="branches"), "kernels: found 'branches'"),
    (dict(start_from="feature/layers2"), r"start_from: found .*Did you mean"),
  ],
)
def test_mistakes_are_told_before_training(own, tmp_path, settings, message):
  config = tiny_config()
  config.stages.kd.update(settings)
  with pytest.raises(UserError, match=rf"config\.stages\.kd\.{message}"):
    Experiment(config_lib.parse(config), tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      lambda c: c.models.teacher.update(features=6),
      r"cascade_1/conv_1/bias of shape \(6,\) there; expected \(4,\), as in the net",
    ),
    (
      lambda c: c.models.teacher.update(convolutions=2),
      r"no cascade_1/conv_2/bias there|cascade_1/conv_2/bias of shape \(1,\)",
    ),
    (
      lambda c: setattr(c.models, "teacher", dict(network="vdsr", convolutions=4)),
      r"'teacher', a VDSR; expected a stage with a DCCNN",
    ),
  ],
)
def test_layers_of_another_network_are_refused(tmp_path, change, message):
  config = tiny_config()
  config.stages.student.start_from = "teacher/layers"
  config.pipeline = config.evaluation.models = ("teacher", "student")
  config.evaluation.distilled = ()
  with config.unlocked():
    change(config)
  with pytest.raises(UserError, match=rf"stages\.student\.start_from: found {message}"):
    Experiment(config_lib.parse(config), tmp_path / "run")
