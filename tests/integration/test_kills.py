"""A four-stage run that is killed again and again ends as one that nobody kills.

`make kills` kills it 100 times; KILLS and SEED choose the number and the moments.
"""

import collections
import csv
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers.tiny import assert_same_end, final

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]

ROOT = pathlib.Path(__file__).parents[2]
STAGES = ("teacher", "student", "feature", "kd")
PHASES = ("start", *STAGES, "results", "report")
KILLS, SEED = int(os.environ.get("KILLS", 5)), int(os.environ.get("SEED", 0))
PER_RUN = 10  # kills

CONFIG = """
from helpers.tiny import tiny_config

def get_config():
  return tiny_config(checkpoint_seconds=0.0, audit_every=3)
"""


class Run:
  """A run in a process of its own, and how far it is."""

  def __init__(self, workdir):
    self.workdir, self.began = workdir, time.time()
    config = workdir.with_name("config.py")
    config.write_text(CONFIG)
    words = ["kdmri_jax", "run", f"--config={config}", f"--workdir={workdir}"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    self._log = workdir.with_name("log")
    with self._log.open("w") as log:
      self.process = subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=log,
        stderr=subprocess.STDOUT,
      )

  def is_over(self):
    """Whether it came to its end; an end that is none of a run is an error."""
    if self.process.poll() is None:
      return False
    assert self.process.returncode == 0, self._log.read_text()
    return True

  def phase(self):
    """The latest of `PHASES` that this process has reached, told from its files."""
    if self._wrote("targets/*.h5"):
      report = self._wrote("report/.kdmri-*") or self._wrote("report/report.json")
      return "report" if report else "results"
    begun = [stage for stage in STAGES if self._wrote(f"seed_42/{stage}/metrics.jsonl")]
    return begun[-1] if begun else "start"

  def _wrote(self, pattern):
    for path in self.workdir.glob(pattern):
      try:
        if path.stat().st_mtime > self.began:
          return True
      except FileNotFoundError:  # a temporary folder that is gone by now
        continue
    return False

  def wait_for(self, phase):
    """Waits until a phase, or one after it, begins; False where the run ended first."""
    while PHASES.index(self.phase()) < PHASES.index(phase):
      if self.is_over():
        return False
      time.sleep(0.002)
    return True


def undisturbed(workdir):
  """Lets a run end; the seconds of each phase."""
  run, begins = Run(workdir), {}
  while not run.is_over():
    begins.setdefault(run.phase(), time.time())
    time.sleep(0.002)
  times = [*(begins.get(phase, time.time()) for phase in PHASES), time.time()]
  return {p: b - a for p, a, b in zip(PHASES, times[:-1], times[1:], strict=True)}


def killed(workdir, seconds, draw, kills):
  """Kills a run at random moments and starts it again each time, until it ends.

  Args:
    workdir: its folder.
    seconds: of each phase, undisturbed.
    draw: random numbers.
    kills: how often it is killed.

  Returns:
    The phases in which it was killed.
  """
  where = []
  for aim in sorted(draw.choices(PHASES, k=kills), key=PHASES.index):
    run = Run(workdir)
    if run.wait_for(aim):
      time.sleep(draw.uniform(0, seconds[aim]))
      run.process.kill()
    if run.process.wait() == -signal.SIGKILL:
      where.append(run.phase())
    else:
      assert run.is_over()
  undisturbed(workdir)
  return where


def contents(workdir):
  """What must be the same: file -> content, without times.

  Of TensorBoard's events and of the parts of a checkpoint there is the folder alone.
  """
  found = {}
  for path in sorted(workdir.rglob("*")):
    name = str(path.relative_to(workdir))
    inside = re.search(r"/(tensorboard|checkpoints/\d+)/", name)
    if not inside:
      found[name] = _without_times(path) if path.is_file() else "folder"
  return found


def _without_times(path):
  if path.suffix == ".jsonl":
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [_timeless(line) for line in lines]
  if path.suffix == ".json":
    return _timeless(json.loads(path.read_text()))
  if path.suffix == ".csv":
    with path.open(newline="") as file:
      return [_timeless(row) for row in csv.DictReader(file)]
  if path.suffix in (".html", ".md"):
    return re.sub(_TIME, "TIME", path.read_text())
  return path.read_bytes()


# Training times, in words and in the column of minutes.
_TIME = r"\d+ min( \d\d s)?|\d+(\.\d)? s\b|\b\d+\.\d\b"


def _timeless(value):
  if isinstance(value, dict):
    times = ("seconds", "minutes", "crc32")  # the checksum of a line with seconds
    return {key: _timeless(item) for key, item in value.items() if key not in times}
  return [_timeless(item) for item in value] if isinstance(value, list) else value


def test_killed_runs_end_as_one_that_nobody_kills(tmp_path):
  draw, whole = random.Random(SEED), tmp_path / "whole" / "run"
  whole.parent.mkdir()
  undisturbed(whole)  # fills the cache of compiled functions
  again = tmp_path / "again" / "run"
  again.parent.mkdir()
  seconds, expected = undisturbed(again), contents(whole)
  assert contents(again) == expected
  where, runs = [], 0
  while len(where) < KILLS:
    runs += 1
    workdir = tmp_path / f"killed_{runs}" / "run"
    workdir.parent.mkdir()
    where += killed(workdir, seconds, draw, min(PER_RUN, KILLS - len(where)))
    found = contents(workdir)
    assert found.keys() == expected.keys()  # no leftovers
    assert found == expected
    for stage in STAGES:
      assert_same_end(final(workdir, stage), final(whole, stage))
    counts = dict(collections.Counter(where))
    print(f"{runs} runs, {len(where)} kills: {counts}", file=sys.stderr, flush=True)
