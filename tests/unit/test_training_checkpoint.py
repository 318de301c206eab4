"""Checkpoints carry digests: a changed one is refused, an older one is read."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import optax
import pytest
from helpers.flips import files, flipped, flips

from kdmri_jax import json_text
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
  best, branches = (jax.tree.map(lambda x, k=k: x + k, params) for k in (1, 2))
  return Snapshot(state, best, progress, branches)


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
  kept = [checkpoints.best(snapshot(1).best, item) for item in ("best", "branches")]
  checkpoints.close()
  assert StageFolder(folder).progress() == found.progress
  return found.state, [found.best, found.branches], kept, vars(found.progress)


def test_what_was_saved_is_read(folder):
  state, best, again, progress = read(folder)
  expected = snapshot()
  jax.tree.map(np.testing.assert_array_equal, state, expected.state)
  both = [expected.best, expected.branches]
  jax.tree.map(np.testing.assert_array_equal, [best, again], [both, both])
  assert (progress["step"], progress["sums"]) == (3, {"loss": 0.1})
  assert set(progress["weights"]) == {"latest", "best", "branches"}
  expected = {"best", "branches"} if progress["finished"] else set()
  assert set(StageFolder(folder).digests()) == expected


def test_a_checkpoint_that_a_training_replaces_is_read_again(folder, monkeypatch):
  whole, read_opened, reads = snapshot(2, step=4, finished=True), Checkpoints._read, []

  def replaced(opened, like):
    reads.append(like)
    if len(reads) == 1:
      training = Checkpoints(folder / "checkpoints")
      training.save(whole)
      training.close()
    return read_opened(opened, like)

  monkeypatch.setattr(Checkpoints, "_read", replaced)
  found = StageFolder(folder).weights(whole.best)
  jax.tree.map(np.testing.assert_array_equal, found, whole.best)
  assert StageFolder(folder).progress().step == 4 and len(reads) == 3


def test_a_damaged_checkpoint_is_read_once(folder, monkeypatch):
  (folder / "checkpoints" / "3" / "progress" / "metadata").write_text("{}")
  read_opened, reads = Checkpoints._read, []

  def counted(opened, like):
    reads.append(like)
    return read_opened(opened, like)

  monkeypatch.setattr(Checkpoints, "_read", counted)
  with pytest.raises(UserError, match="a checkpoint that cannot be read"):
    StageFolder(folder).progress()
  assert len(reads) == 1


@pytest.mark.parametrize("item", ["latest", "best", "branches"])
def test_other_arrays_are_refused(folder, item):
  """Whole and readable, but not those that were saved with the progress."""
  other = Checkpoints(folder.parent / "other" / "checkpoints")
  other.save(dataclasses.replace(snapshot(1), progress=Progress(step=3)))
  other.close()
  place = folder / "checkpoints" / "3" / item
  shutil.rmtree(place)
  shutil.copytree(folder.parent / "other" / "checkpoints" / "3" / item, place)
  with pytest.raises(UserError, match=f"{item}: another digest than that of the arr"):
    read(folder)


def test_a_checkpoint_of_an_earlier_version_is_read(folder):
  """Its progress has no checksum, and digests of a finished stage's weights alone."""
  whole = read(folder)
  path = folder / "checkpoints" / "3" / "progress" / "metadata"
  progress = json_text.unsealed(json_text.loads(path.read_text()))
  del progress["weights"]["latest"]
  if not progress["finished"]:
    progress["weights"] = {}
  path.write_text(json.dumps(progress))
  checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
  found = checkpoints.restore(snapshot(1))
  checkpoints.close()
  jax.tree.map(np.testing.assert_array_equal, found.state, whole[0])
  if progress["finished"]:
    read(folder)
  else:
    with pytest.raises(UserError, match="no digest of its best weights"):
      read(folder)


@pytest.mark.parametrize("seed", range(2))
def test_a_flipped_bit_is_refused_or_without_effect(folder, tmp_path, seed):
  expected, outcomes = read(folder), set()
  for path, bit in flips(files(folder), 1, seed):
    with flipped(path, bit):
      try:
        found = read(folder)
      except UserError:
        outcomes.add("refused")
      else:
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        outcomes.add("equal")
  assert outcomes == {"refused", "equal"}
