"""Two disks run full, one in training and one under the report; then there is room.

The disks are small ones in memory. Where this user may not mount any, these tests are
skipped, and those with a limit on the size of files remain (test_stopping.py,
test_prepare.py).
"""

import os
import re
import shutil
import subprocess

import pytest
from helpers.commands import run
from helpers.tiny import assert_same_end, final, make, train

from kdmri_jax.errors import UserError
from kdmri_jax.report import write_reports
from kdmri_jax.training import batches, log

pytestmark = [pytest.mark.usefixtures("quick_compilation"), pytest.mark.slow]

FULL = "found no space left on the disk; expected a folder that can be written. Free sp"


class Disk:
  """A disk that can be filled and emptied again."""

  def __init__(self, path):
    self.path, self._ballast = path, path / "ballast"

  def fill(self, room):
    """Leaves some bytes."""
    free = shutil.disk_usage(self.path).free
    with self._ballast.open("wb") as file:
      os.posix_fallocate(file.fileno(), 0, max(free - room, 1))

  def empty(self):
    """Removes what fills it."""
    self._ballast.unlink()


@pytest.fixture
def disk(tmp_path):
  """A disk of 16 MB."""
  path = tmp_path / "disk"
  path.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path)]
  try:
    done = subprocess.run(mount, capture_output=True, text=True)
  except FileNotFoundError:
    pytest.skip("no command `mount` here")
  if done.returncode:
    pytest.skip(f"this user cannot mount a disk: {done.stderr.strip()}")
  yield Disk(path)
  subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  """A run that had room, with its report."""
  pipeline = make(tmp_path_factory.mktemp("run"))
  train(pipeline)
  write_reports.write_reports([pipeline])
  return pipeline.workdir.path


def leftovers(folder):
  return [path for path in folder.rglob(".*") if path.name != ".lock"]


def files_of(folder, pattern):
  return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob(pattern)}


@pytest.mark.parametrize("step", [5, 8])
def test_full_in_training(undisturbed, disk, monkeypatch, step):
  """Before the first checkpoint of the student, and between two of them."""
  workdir = disk.path / "run"
  take, count = batches.take, 0

  def filling_take(slices, indices):
    nonlocal count
    count += len(indices) == 4 and len(slices.target) == 18  # a step of training
    if count == step:
      disk.fill(room=0)
      count += 1
    return take(slices, indices)

  settings = {"checkpoint_seconds": 1e6 if step == 5 else 0.0}
  train(make(workdir, **settings), ["teacher"])
  with monkeypatch.context() as patch:
    patch.setattr(batches, "take", filling_take)
    with pytest.raises(UserError, match=FULL):
      train(make(workdir, **settings), ["student"])
  stopped = make(workdir, **settings)
  progress = stopped.progress("student")
  assert progress is None if step == 5 else 0 < progress.step < 10
  assert_same_end(final(workdir, "teacher"), final(undisturbed, "teacher"))
  with pytest.raises(UserError, match=FULL):  # nothing gets worse by trying again
    train(stopped, ["student"])
  disk.empty()
  train(make(workdir, **settings), ["student"])
  assert_same_end(final(workdir, "student"), final(undisturbed, "student"))
  assert leftovers(workdir) == []
  lines = [
    log.read(folder / "seed_42" / "student" / "metrics.jsonl")
    for folder in (workdir, undisturbed)
  ]
  for line in (*lines[0], *lines[1]):
    del line["seconds"]
  assert lines[0] == lines[1]


@pytest.mark.parametrize(
  ("room", "earlier"), [(0, False), (80, True), (160, False), (320, True)]
)
def test_full_under_the_report(undisturbed, disk, room, earlier):
  """At several places: among the results, the figures and the tables (kB of room)."""
  workdir = disk.path / "run"
  shutil.copytree(undisturbed, workdir)
  if not earlier:
    for name in ("report", "targets"):
      shutil.rmtree(workdir / name)
  before = files_of(workdir, "report/**/*.*")
  disk.fill(room=room * 1024)
  with pytest.raises(UserError, match=FULL):
    write_reports.write_reports([make(workdir)])
  assert files_of(workdir, "report/**/*.*") == before
  assert leftovers(workdir) == []
  disk.empty()
  write_reports.write_reports([make(workdir)])
  for pattern in ("report/*.csv", "report/figures/*", "targets/*", "**/results/*"):
    assert files_of(workdir, pattern) == files_of(undisturbed, pattern)


@pytest.mark.parametrize("room", [0, 100])
def test_full_under_prepare(tmp_path, disk, room):
  words = (
    "prepare",
    "--source=phantom",
    "--phantom_size=96,96",
    "--phantom_subjects=4",
  )
  out = disk.path / "prepared"
  disk.fill(room=room * 1024)
  done = run(*words, f"--out={out}")
  assert done.returncode == 1
  assert re.search(FULL, done.stderr), done.stderr
  assert [path.name for path in disk.path.iterdir()] == ["ballast"]
  disk.empty()
  for folder in (out, tmp_path / "whole"):
    done = run(*words, f"--out={folder}")
    assert done.returncode == 0, done.stderr
  assert files_of(out, "*.h5") == files_of(tmp_path / "whole", "*.h5")
