"""An optimiser that draws random numbers goes on with the same ones after a stop."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from helpers.small_step import make, small_problem, small_stage

from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot

pytestmark = pytest.mark.usefixtures("quick_compilation")


def noisy(learning_rate, kind):
  noise = optax.add_noise(eta=0.1, gamma=0.5, key=jax.random.key(3, impl=kind))
  return optax.chain(noise, optax.sgd(learning_rate))


def _keys(state):
  return [x for x in jax.tree.leaves(state) if x.dtype == np.uint32]


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_training_draws_the_same_numbers(tmp_path, kind, ema):
  own = dict(optimiser=f"{__name__}:noisy", optimiser_settings={"kind": kind})
  stage = dataclasses.replace(small_stage("paper", "student"), **own, ema=ema)
  slices, acquisition, models, params = small_problem(batch=4)
  devices = jax.devices()[:1]
  steps, state, teacher = make(stage, models, params, slices, acquisition, devices)

  def train(state, count):
    for _ in range(count):
      state, _ = steps.train(state, teacher, slices, acquisition)
    return state

  fresh = jax.device_get(state)
  begun = jax.device_get(train(state, 2))
  checkpoints = Checkpoints(tmp_path / "checkpoints")
  checkpoints.save(Snapshot(begun, begun.params, Progress(step=2)))
  found = checkpoints.restore(Snapshot(fresh, fresh.params, Progress()))
  checkpoints.close()
  assert jax.tree.structure(found.state) == jax.tree.structure(begun)
  (before, after) = (_keys(each.optimiser) for each in (fresh, found.state))
  assert len(after) == 1 and not np.array_equal(before, after)
  found, expected = (jax.device_get(train(each, 2)) for each in (found.state, begun))
  jax.tree.map(np.testing.assert_array_equal, found, expected)
