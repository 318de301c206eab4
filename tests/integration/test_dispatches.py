"""How often a stage compiles and talks to the device: what makes it fast or slow.

Seconds depend on the machine; these counts do not.
"""

import collections

import jax
import numpy as np
import pytest
from helpers.marks import slow
from helpers.tiny import final, make, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.training import log, parallel
from kdmri_jax.training import step as step_lib
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 5  # an epoch: 18 slices in batches of 4


@pytest.fixture
def counts(monkeypatch):
  """Calls of the compiled steps of the stages, and the compilations of each."""
  found = collections.Counter()
  made = []

  def counted(*arguments):
    steps = make_steps(*arguments)
    made.append(steps)

    def count(name, function):
      def call(*arguments):
        found[name] += 1
        return function(*arguments)

      return call

    return type(steps)(**{k: count(k, f) for k, f in steps._asdict().items()})

  make_steps = step_lib.make_steps
  monkeypatch.setattr(step_lib, "make_steps", counted)
  found.compilations = lambda: {
    name: function._cache_size()
    for steps in made
    for name, function in steps._asdict().items()
    if function._cache_size()
  }
  return found


@pytest.mark.slow
def test_a_stage_compiles_every_step_once(tmp_path, counts):
  train(make(tmp_path, devices=1, epochs=3), ["teacher"])
  assert counts == {"train": 3 * STEPS, "validate": 6}
  # Of 6 slices, 4 are validated together, then 2.
  assert counts.compilations() == {"train": 1, "validate": 2}


@pytest.mark.slow
def test_a_frozen_teacher_is_run_once_for_a_slice(tmp_path, counts):
  pipeline = make(tmp_path, devices=1, epochs=3)
  train(pipeline, ["teacher", "feature"])
  counts.clear()
  train(pipeline, ["kd"])
  batches = STEPS + 2  # 18 slices to train on, 6 to validate on
  assert counts["teach"] == batches and counts["train"] == 3 * STEPS


def test_nothing_compiles_after_the_first_epoch(tmp_path):
  seen = []

  def listen(event, duration, **_):
    if event.endswith("backend_compile_duration"):
      seen.append(epochs_done())

  folder = tmp_path / "seed_42" / "student" / "metrics.jsonl"

  def epochs_done():
    return len(folder.read_text().splitlines()) if folder.exists() else 0

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    train(make(tmp_path, devices=2, epochs=3), ["student"])
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  assert 0 in seen, "compilations were not noticed"
  assert not {1, 2} & set(seen)


@pytest.mark.parametrize("steps", [slow(3), slow(4)])
def test_many_steps_a_dispatch(tmp_path, counts, steps):
  slices = dict(subjects=8, slices=5)  # 30 to train on, 10 to validate on
  settings = dict(devices=1, epochs=3, audit_every=5)
  steps_an_epoch, found = 8, {}
  for name, at_once in (("plain", 1), ("many", steps)):
    counts.clear()
    config = tiny_config(steps_per_dispatch=at_once, **settings)
    config.data.phantom.update(slices)
    squared = dict(config.stages.teacher.terms.reconstruction, loss="mse")
    config.stages.teacher.terms.squared = squared  # of one term there is no audit
    pipeline = Experiment(config_lib.parse(config), tmp_path / name)
    train(pipeline, ["teacher"])
    lines = log.read(pipeline.workdir.stage("teacher") / "metrics.jsonl")
    found[name] = final(tmp_path / name, "teacher"), lines
  assert counts["train_many"] == 3 * -(-steps_an_epoch // steps)
  # Whole batches, and the two slices left over: nothing comes singly.
  assert counts["validate_many"] == 6
  assert not counts["train"] and not counts["validate"]
  compilations = counts.compilations()
  assert compilations["train_many"] == (2 if steps_an_epoch % steps else 1)
  assert compilations["validate_many"] == 2 and compilations["audit"] == 1
  (plain, singly), (many, together) = found["plain"], found["many"]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    many.state.params,
    plain.state.params,
  )
  assert many.progress.step == plain.progress.step == 3 * steps_an_epoch
  for a, b in zip(epochs_of(singly), epochs_of(together), strict=True):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), a, b)
  audited = [line["step"] for line in together if line["event"] == "audit"]
  assert audited == sorted({k - k % 8 % steps for k in range(0, 24, 5)})


def epochs_of(lines):
  """The log's entries of each epoch, without times."""
  shown = ("train", "validation", "step", "learning_rate")
  return [{key: x[key] for key in shown} for x in lines if x["event"] == "epoch"]


def test_an_epoch_is_divided_evenly():
  sizes = {1: 1, 32: 32, 33: 17, 60: 30, 80: 20, 97: 25, 100: 25}
  assert {count: parallel.evenly(count) for count in sizes} == sizes
  for count in range(1, 200):
    size = parallel.evenly(count)
    assert size <= 32 and (count <= 32 or size >= 16)
    assert count % size == 0 or not any(count % n == 0 for n in range(16, 33))


def test_several_devices_do_one_step_a_dispatch(tmp_path, counts):
  train(make(tmp_path, devices=2, epochs=1, steps_per_dispatch=2), ["student"])
  assert counts["train"] == STEPS and not counts["train_many"]
