"""Checkpoints carry digests: a changed one is refused, an older one is read."""

import jax
import numpy as np
import optax
import pytest
from helpers.flips import flipped, flips

from kdmri_jax.errors import UserError
from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.step import init_state


def snapshot(seed=0, **progress):
  rng = np.random.default_rng(seed)
  drawn = {"cascade_1": {"kernel": rng.random((3, 2)), "bias": rng.random(2)}}
  params = jax.tree.map(np.float32, drawn)
  state = init_state(params, {}, optax.adam(1e-3))
  progress = Progress(sums={"loss": 0.1}, best_value=0.25, best_epoch=1, **progress)
  return Snapshot(state, jax.tree.map(lambda x: x + 1, params), progress)


@pytest.fixture(params=[False, True], ids=["begun", "finished"])
def folder(request, tmp_path):
  """A stage's folder with a checkpoint."""
  checkpoints = Checkpoints(tmp_path / "stage" / "checkpoints")
  checkpoints.save(snapshot(step=3, seconds=1.5, finished=request.param))
  checkpoints.close()
  return tmp_path / "stage"


def read(folder):
  """Everything that a checkpoint holds, by each way to read it."""
  checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
  found = checkpoints.restore(snapshot(1))
  best = checkpoints.best(snapshot(1).best)
  checkpoints.close()
  return found.state, found.best, best, vars(found.progress)


def test_what_was_saved_is_read(folder):
  state, best, again, progress = read(folder)
  expected = snapshot().state, snapshot().best
  jax.tree.map(np.testing.assert_array_equal, (state, best), expected)
  jax.tree.map(np.testing.assert_array_equal, best, again)
  assert progress["step"] == 3 and set(progress["weights"]) == {"latest", "best"}
  expected = {"best"} if progress["finished"] else set()
  assert set(StageFolder(folder).digests()) == expected


@pytest.mark.parametrize("seed", range(2))
def test_a_flipped_bit_is_refused_or_without_effect(folder, tmp_path, seed):
  expected, outcomes = read(folder), set()
  for path, bit in flips(folder, 1, seed):
    with flipped(path, bit):
      try:
        found = read(folder)
      except UserError:
        outcomes.add("refused")
      else:
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        outcomes.add("equal")
  assert outcomes == {"refused", "equal"}
