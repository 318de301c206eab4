"""A run that is stopped, fails or loses its disk goes on as if nothing had been."""

import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers.event_files import steps
from helpers.marks import slow
from helpers.tiny import (
  assert_same_end,
  final,
  make,
  stop_in_dispatch,
  tiny_config,
  train,
)

from kdmri_jax import config as config_lib
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.saving import require_space
from kdmri_jax.training import log
from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.step import TrainState

pytestmark = pytest.mark.usefixtures("quick_compilation")


def make_audited(path, **changes):
  """A run whose student has two terms: stages of one are not audited."""
  config = tiny_config(**changes)
  terms = config.stages.student.terms
  terms.squared = dict(terms.reconstruction, loss="mse")
  return Experiment(config_lib.parse(config), path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  """The folder of a student trained without a stop."""
  pipeline = make_audited(tmp_path_factory.mktemp("run"))
  train(pipeline, ["student"])
  return pipeline.workdir.path


class TestStopping:
  @pytest.mark.parametrize(
    ("step", "number"),
    [
      slow(1, signal.SIGTERM),
      (4, signal.SIGINT),
      slow(5, signal.SIGTERM),
      slow(9, signal.SIGTERM),
      slow(10, signal.SIGINT),
    ],
  )
  def test_a_signal_saves_and_the_next_start_ends_the_same(
    self, undisturbed, tmp_path, monkeypatch, step, number
  ):
    """5 steps an epoch, 2 epochs: early, before, at and after an epoch's last step.

    It shows an image after each epoch, the undisturbed one none.
    """
    settings = {"watch": {"image_every": 1}, "audit_every": 2}
    interrupted = make_audited(tmp_path, **settings)
    with monkeypatch.context() as patch:
      stop_in_dispatch(patch, step, number)
      with pytest.raises(Interrupted, match="everything is saved") as caught:
        train(interrupted, ["student"])
    assert caught.value.signal_number == number
    assert interrupted.progress("student").step == step
    assert interrupted.is_finished("student") == (step == 10)
    again = make_audited(tmp_path, **settings)
    train(again, ["student"])
    assert_same_end(final(tmp_path, "student"), final(undisturbed, "student"))
    shown = steps(again.workdir.stage("student") / "tensorboard")
    assert shown["validation slice"] == shown["training/loss"] == [5, 10]
    assert shown["gradient/reconstruction share of the norm"] == [1, 3, 5, 7, 9]
    a, b = (
      log.read(p / "seed_42" / "student" / "metrics.jsonl")
      for p in (tmp_path, undisturbed)
    )
    for line in (*a, *b):
      line.pop("seconds", None)
    assert [line for line in a if line["event"] == "epoch"] == b

  @pytest.mark.slow
  @pytest.mark.parametrize(("dispatch", "step"), [(1, 2), (2, 4), (4, 7)])
  def test_dispatches_of_several_steps_go_on_too(
    self, tmp_path, monkeypatch, dispatch, step
  ):
    """An epoch of 5 steps is dispatched as 2, 2 and a single one."""
    settings = dict(devices=1, steps_per_dispatch=2)
    train(make(tmp_path / "whole", **settings), ["student"])
    with monkeypatch.context() as patch:
      stop_in_dispatch(patch, dispatch)
      with pytest.raises(Interrupted):
        train(make(tmp_path / "parts", **settings), ["student"])
    stopped = make(tmp_path / "parts", **settings)
    assert stopped.progress("student").step == step
    train(stopped, ["student"])
    ends = [final(tmp_path / name, "student") for name in ("whole", "parts")]
    assert_same_end(*ends)

  @pytest.mark.slow
  def test_weights_trained_along_and_draws_go_on_too(self, tmp_path, monkeypatch):
    def run(path):
      config = tiny_config()
      terms = config.stages.feature.terms
      terms.attention.update(loss="fitnets", variant="paper")
      terms.masked = {**terms.attention, "loss": "masked_generative"}
      pipeline = Experiment(config_lib.parse(config), path)
      train(pipeline, ["teacher", "feature"])
      lines = log.read(path / "seed_42" / "feature" / "metrics.jsonl")
      for line in lines:
        del line["seconds"]
      return lines, pipeline.best("feature")

    expected, best = run(tmp_path / "a")
    with monkeypatch.context() as patch:
      stop_in_dispatch(patch, 10 + 7)
      with pytest.raises(Interrupted, match="stage feature at step 7"):
        run(tmp_path / "b")
    lines, again = run(tmp_path / "b")
    assert lines == expected
    jax.tree.map(np.testing.assert_array_equal, again, best)

  def test_what_a_crash_left_of_the_log_is_dropped(self, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 5}\n\xff\xfe\n{"step": 10}\n{"st')
    log.StageLog(tmp_path, "teacher", 5, 20).close()
    assert path.read_bytes() == b'{"step": 5}\n\xff\xfe\n'
    assert log.read(path) == [{"step": 5}]


class TestFailing:
  @pytest.mark.parametrize("seconds", [slow(0.0), 1e6])
  def test_a_diverging_loss_names_step_and_term(self, tmp_path, seconds):
    config = tiny_config(checkpoint_seconds=seconds)
    config.stages.student.learning_rate = 1e30
    diverging = Experiment(config_lib.parse(config), tmp_path)
    message = r"stage student, \w+, step \d: found reconstruction = (inf|nan)"
    with pytest.raises(UserError, match=message + ".*before the first checkpoint"):
      train(diverging, ["student"])
    assert diverging.progress("student") is None  # ruined weights are not saved

  def test_a_failed_save_keeps_the_checkpoint_before(self, tmp_path):
    """In a process of its own, whose files may not grow beyond 20 kB at last."""
    done = subprocess.run(
      [sys.executable, "-c", _FAILING_SAVE, str(tmp_path)],
      capture_output=True,
      text=True,
    )
    assert "found a failed write (File too large)" in done.stdout, done.stderr
    params = {"kernel": np.zeros(20_000, np.float32)}
    checkpoints = Checkpoints(tmp_path)
    like = Snapshot(
      TrainState(params, {}, {"m": params}, np.int32(0)), params, Progress()
    )
    restored = checkpoints.restore(like)
    checkpoints.close()
    assert restored.progress.step == 1
    np.testing.assert_array_equal(restored.state.params["kernel"], np.arange(20_000))

  def test_too_little_room_is_noticed_before_writing(self, tmp_path):
    with pytest.raises(UserError, match="no space left on the disk"):
      require_space(tmp_path, 2**62)

  def test_a_damaged_checkpoint_is_named(self, tmp_path):
    params = {"kernel": np.ones(9, np.float32)}
    snapshot = Snapshot(
      TrainState(params, {}, {"m": params}, np.int32(0)), params, Progress(step=1)
    )
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(snapshot)
    checkpoints.close()
    for path in tmp_path.glob("1/latest/**/*"):
      if path.is_file():
        path.write_bytes(b"")
    reopened = Checkpoints(tmp_path)
    with pytest.raises(UserError, match="a checkpoint that cannot be read"):
      reopened.restore(snapshot)
    reopened.close()


_FAILING_SAVE = """
import pathlib, resource, sys
import numpy as np
from kdmri_jax.errors import UserError
from kdmri_jax.training.checkpoint import Checkpoints, Progress, Snapshot
from kdmri_jax.training.step import TrainState

def snapshot(values, step):
  params = {"kernel": values.astype(np.float32)}
  state = TrainState(params, {}, {"m": params}, np.int32(0))
  return Snapshot(state, params, Progress(step=step))

checkpoints = Checkpoints(pathlib.Path(sys.argv[1]))
checkpoints.save(snapshot(np.arange(20_000), 1))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
  checkpoints.save(snapshot(np.random.default_rng(0).random(20_000), 2))
except UserError as error:
  print(error)
"""
