"""Two processes train as one with as many devices, stop together and go on."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import numpy as np
import pytest
from helpers.tiny import assert_same_end, final, history, make, train

from kdmri_jax import json_text

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

ROOT = pathlib.Path(__file__).parents[2]
STAGES = ("teacher", "feature")
SETTINGS = {"audit_every": 3}


class Ended(NamedTuple):
  """A process that ended: its exit status, and what it wrote."""

  code: int
  text: str


def config_file(folder, **changes):
  path = folder / "tiny.py"
  path.write_text(
    "from helpers.tiny import tiny_config\n\n\ndef get_config():\n"
    f"  return tiny_config(**{SETTINGS | changes!r})\n"
  )
  return path


def start(folder, config, *flags, number=2):
  """Starts the processes of a run in `folder/run`; each has the flags of its own."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  command = [sys.executable, "-m", "kdmri_jax", "run", f"--config={config}"]
  command += [f"--workdir={folder / 'run'}", f"--coordinator={address}"]
  command += [f"--processes={number}", f"--stages={','.join(STAGES)}"]
  own = flags or ((),) * number
  environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
  environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
  return [
    subprocess.Popen(
      [*command, f"--process={k}", *own[k]],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      env=environment,
    )
    for k in range(number)
  ]


def end(processes):
  return [Ended(p.returncode, text) for p in processes for text in p.communicate()[:1]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  """The folder of a run by two processes, and what they wrote."""
  folder = tmp_path_factory.mktemp("two")
  ended = end(start(folder, config_file(folder, epochs=12)))
  assert [each.code for each in ended] == [0, 0], ended
  return folder / "run", ended


def test_the_weights_are_those_of_one_process_with_two_devices(undisturbed, tmp_path):
  train(make(tmp_path, epochs=12, **SETTINGS), STAGES)
  for stage in STAGES:
    one, two = final(tmp_path, stage), final(undisturbed[0], stage)
    assert one.progress.step == two.progress.step
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      (one.state, one.best),
      (two.state, two.best),
    )
    for a, b in zip(
      history(tmp_path, stage), history(undisturbed[0], stage), strict=True
    ):
      assert a["step"] == b["step"]


def test_the_first_process_alone_reports(undisturbed):
  run, (first, second) = undisturbed
  assert "report: " in first.text and "report: " not in second.text
  assert "epoch 12" in first.text and "epoch 12" not in second.text
  record = json_text.loads((run / "report" / "report.json").read_text())
  assert record["environment"]["devices"].endswith(" in each of 2 processes")


def test_a_signal_to_one_process_stops_both_and_the_next_start_ends_the_same(
  undisturbed, tmp_path
):
  config = config_file(tmp_path, epochs=12)
  log = tmp_path / "run" / "seed_42" / "teacher" / "metrics.jsonl"
  processes = start(tmp_path, config)
  while not (log.exists() and log.read_text()) and processes[0].poll() is None:
    time.sleep(0.01)
  processes[1].send_signal(signal.SIGTERM)
  stopped = end(processes)
  assert [each.code for each in stopped] == [128 + signal.SIGTERM] * 2, stopped
  assert "stopped in stage teacher at step" in stopped[0].text
  ended = end(start(tmp_path, config))
  assert [each.code for each in ended] == [0, 0], ended
  assert "continuing after step" in ended[0].text
  for stage in STAGES:
    assert_same_end(final(tmp_path / "run", stage), final(undisturbed[0], stage))
    assert history(tmp_path / "run", stage) == history(undisturbed[0], stage)


def test_what_one_process_cannot_do_ends_all_with_its_error(tmp_path):
  """Another setting, a batch that does not divide, a folder that is in use."""
  config = config_file(tmp_path)
  other = ["--config.stages.feature.learning_rate=0.1"]
  for ended in end(start(tmp_path, config, (), other)):
    assert ended.code == 1
    assert "error: process 1: --distributed: found config.stages.feat" in ended.text
  odd = ["--config.batch_size=3"]
  for ended in end(start(tmp_path, config, odd, odd)):
    assert ended.code == 1
    assert "config.batch_size: found 3 slices for 2 processes" in ended.text
  with make(tmp_path / "run", **SETTINGS).workdir.locked():
    for ended in end(start(tmp_path, config)):
      assert ended.code == 1
      assert "found another process that uses this folder" in ended.text


def test_a_killed_process_ends_the_other_and_the_run_goes_on(undisturbed, tmp_path):
  config = config_file(tmp_path, epochs=12)
  log = tmp_path / "run" / "seed_42" / "teacher" / "metrics.jsonl"
  processes = start(tmp_path, config)
  while not (log.exists() and log.read_text()) and processes[0].poll() is None:
    time.sleep(0.01)
  processes[1].kill()
  first, _ = end(processes)
  assert first.code == 1
  assert "error: --distributed: found a process that does not answer" in first.text
  assert [each.code for each in end(start(tmp_path, config))] == [0, 0]
  for stage in STAGES:
    assert_same_end(final(tmp_path / "run", stage), final(undisturbed[0], stage))
