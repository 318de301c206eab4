"""How often a stage compiles and talks to the device: what makes it fast or slow.

Seconds depend on the machine; these counts do not.
"""

import collections

import jax
import numpy as np
import pytest
from tiny import final, make, train

from kdmri_jax.training import stage as stage_lib

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

  make_steps = stage_lib.make_steps
  monkeypatch.setattr(stage_lib, "make_steps", counted)
  found.compilations = lambda: {
    name: function._cache_size()
    for steps in made
    for name, function in steps._asdict().items()
    if function._cache_size()
  }
  return found


def test_a_stage_compiles_every_step_once(tmp_path, counts):
  train(make(tmp_path, devices=1, epochs=3), ["teacher"])
  assert counts == {"train": 3 * STEPS, "validate": 3, "validate_rest": 3}
  assert counts.compilations() == {"train": 1, "validate": 1, "validate_rest": 1}


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

  folder = tmp_path / "seed_42" / "teacher" / "metrics.jsonl"

  def epochs_done():
    return len(folder.read_text().splitlines()) if folder.exists() else 0

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    train(make(tmp_path, devices=2, epochs=3), ["teacher"])
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  assert 0 in seen, "compilations were not noticed"
  assert not {1, 2} & set(seen)


def test_many_steps_a_dispatch(tmp_path, counts):
  plain = make(tmp_path / "plain", devices=1, epochs=3)
  train(plain, ["teacher"])
  counts.clear()
  many = make(tmp_path / "many", devices=1, epochs=3, steps_per_dispatch=2)
  train(many, ["teacher"])
  assert counts["train_many"] == 3 * (STEPS // 2) and counts["train"] == 3
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    final(tmp_path / "many", "teacher").state.params,
    final(tmp_path / "plain", "teacher").state.params,
  )
  assert final(tmp_path / "many", "teacher").progress.step == 3 * STEPS


def test_several_devices_do_one_step_a_dispatch(tmp_path, counts):
  train(make(tmp_path, devices=2, epochs=1, steps_per_dispatch=2), ["teacher"])
  assert counts["train"] == STEPS and not counts["train_many"]
