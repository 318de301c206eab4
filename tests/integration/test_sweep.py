"""examples/sweep.py: one teacher for all trials, and no look at the test subjects."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def sweep(folder, *flags):
  """Runs the example on tiny phantoms."""
  config = folder / "tiny.py"
  config.write_text(
    "from helpers.tiny import tiny_config\n\n\ndef get_config():\n"
    "  return tiny_config(epochs=1, devices=1)\n"
  )
  paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *filter(None, sys.path)])
  command = [sys.executable, ROOT / "examples" / "sweep.py", f"--config={config}"]
  return subprocess.run(
    [*command, f"--workdir={folder / 'sweep'}", *flags],
    capture_output=True,
    text=True,
    env={
      **os.environ,
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
      "JAX_PLATFORMS": "cpu",
      "PYTHONPATH": paths,
    },
  )


def test_the_trials_share_a_teacher_and_only_the_best_is_reported(tmp_path):
  pytest.importorskip("optuna")
  refused = sweep(tmp_path, "--trials=1")
  assert refused.returncode == 1
  assert "error: config.data.test: found no test subjects" in refused.stderr
  held_out = "--config.data.test=('*_007',)"
  for trials in (1, 2):  # the second call continues
    done = sweep(tmp_path, held_out, f"--trials={trials}", "--seeds=1")
    assert done.returncode == 0, done.stderr
    assert f"best of {trials}: " in done.stdout
  runs = tmp_path / "sweep"
  assert (runs / "teacher" / "seed_42" / "teacher" / "checkpoints").is_dir()
  for trial in ("trial_0", "trial_1"):
    assert (runs / trial / "seed_42" / "teacher" / "given.json").is_file()
    assert not (runs / trial / "report").exists()
  assert (runs / "best" / "report" / "index.html").is_file()
