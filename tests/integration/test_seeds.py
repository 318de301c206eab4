"""Several seeds: side by side the same as one by one, and they stop together."""

import os
import signal

import jax
import numpy as np
import pytest
from helpers.data_files import images, save_h5
from helpers.tiny import final, make, run_file, tiny_config, train

import kdmri_jax as kd
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.training import batches, log
from kdmri_jax.training.seeds import divide

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

STAGES = ["teacher", "feature"]


def assert_alike(a, b):
  """The same end, to rounding."""
  assert a.progress.step == b.progress.step
  assert a.progress.best_value == pytest.approx(b.progress.best_value, rel=1e-4)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4),
    (a.state.params, a.best),
    (b.state.params, b.best),
  )


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
  """Seeds 42 and 43, each on a device of its own."""
  pipeline = make(tmp_path_factory.mktemp("seeds"), seeds=2, devices=0)
  return train(pipeline, STAGES)


def test_a_seed_ends_as_in_a_run_of_its_own(side_by_side, tmp_path):
  pipeline = side_by_side[-1]
  train(make(tmp_path, seed=pipeline.seed, devices=1), STAGES)
  for stage in STAGES:
    together = final(pipeline.workdir.path, stage, pipeline.seed)
    assert_alike(final(tmp_path, stage), together)


@pytest.mark.parametrize(
  ("seeds", "devices", "beside"),
  [
    (0, 2, 0),
    (1, 2, 0),
    (2, 1, 0),
    (2, 2, 2),
    (3, 2, 2),
    (3, 8, 3),
    (4, 3, 3),
    (5, 3, 5),
    (11, 8, 8),
    (15, 8, 15),
  ],
)
def test_a_rest_that_leaves_half_of_the_devices_idle_has_them_all(
  seeds, devices, beside
):
  first, rest = divide(range(seeds), devices)
  assert (len(first), [*first, *rest]) == (beside, [*range(seeds)])


def test_seeds_differ(side_by_side):
  values = [p.progress("teacher").best_value for p in side_by_side]
  assert len(set(values)) == 2


def test_one_after_the_other_on_several_devices(side_by_side, tmp_path):
  """With rounding, because a batch is then divided."""
  pipelines = train(make(tmp_path, seeds=2, devices=2), ["teacher"])
  for a, b in zip(pipelines, side_by_side, strict=True):
    assert a.seed == b.seed
    assert a.progress("teacher").best_value == pytest.approx(
      b.progress("teacher").best_value, rel=1e-3
    )


def test_more_seeds_may_be_added_later(side_by_side):
  path = side_by_side[0].workdir.path
  before = [p.progress("teacher").seconds for p in side_by_side]
  more = train(make(path, seeds=3, devices=0), ["teacher"])
  assert [p.progress("teacher").seconds for p in more[:2]] == before
  assert more[2].is_finished("teacher")


def test_commands_for_single_seeds_end_in_one_report(side_by_side, tmp_path):
  config, folder = tiny_config(seeds=2, devices=1), tmp_path / "run"
  for seed, other in ((43, 42), (42, 44)):
    assert kd.train(config, folder, STAGES, seeds=[seed]) == []
    assert not (folder / "report").exists()
    assert not (folder / f"seed_{other}").exists()
  (report,) = kd.train(config, folder, STAGES)
  assert "2 seeds" in report.path.read_text()
  for each in side_by_side:
    alone = final(folder, "feature", each.seed)
    assert_alike(alone, final(each.workdir.path, "feature", each.seed))


def test_a_file_is_reconstructed_with_the_seed_asked_for(side_by_side, tmp_path):
  path = tmp_path / "image.h5"
  save_h5(path, target=images(0, (2, 24, 20)))

  def reconstruct_with(seed, stage="teacher"):
    workdir = side_by_side[0].workdir.path
    return run_file(workdir, stage, path, seed=seed)["reconstruction"]

  first = reconstruct_with(None)
  np.testing.assert_array_equal(first, reconstruct_with(42))
  assert np.abs(first - reconstruct_with(43)).max() > 1e-6
  with pytest.raises(UserError, match=r"expected one of the seeds 42, 43(, 44)?\."):
    reconstruct_with(7)
  with pytest.raises(UserError, match="no trained stage 'kd'"):
    reconstruct_with(43, "kd")


def test_a_signal_stops_all_and_all_go_on(tmp_path, monkeypatch, side_by_side):
  take, count = batches.take, 0

  def counting_take(slices, indices):
    nonlocal count
    count += 1
    if count == 15:
      os.kill(os.getpid(), signal.SIGTERM)
    return take(slices, indices)

  with monkeypatch.context() as patch:
    patch.setattr(batches, "take", counting_take)
    with pytest.raises(Interrupted):
      train(make(tmp_path, seeds=2, devices=0), ["teacher"])
  again = train(make(tmp_path, seeds=2, devices=0), ["teacher"])
  for a, b in zip(again, side_by_side, strict=True):
    undisturbed = final(b.workdir.path, "teacher", b.seed)
    assert_alike(final(tmp_path, "teacher", a.seed), undisturbed)


def test_the_error_of_one_seed_is_reported(tmp_path, monkeypatch):
  epoch = log.StageLog.epoch

  def broken(self, entry):
    if self._name.startswith("seed 43"):
      raise UserError("seed 43", "a fault", "none")
    epoch(self, entry)

  monkeypatch.setattr(log.StageLog, "epoch", broken)
  with pytest.raises(UserError, match="seed 43: found a fault"):
    train(make(tmp_path, seeds=2, devices=0), ["teacher"])
  first = make(tmp_path, seeds=2, devices=0)
  assert first.is_finished("teacher")
  assert not np.any(first.for_seed(43).is_finished("teacher"))
