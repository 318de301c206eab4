"""Files are written beside their place: no link is followed, no leftover stays."""

import os
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest

from kdmri_jax import scratch
from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import write_h5
from kdmri_jax.saving import make_folder, new_folder, replacing
from kdmri_jax.training import checkpoint
from kdmri_jax.training.log import StageLog
from kdmri_jax.training.workdir import WorkDir

_KILLED = """
import os, pathlib, signal, sys
from kdmri_jax.saving import replacing
with replacing(sys.argv[1]) as temporary:
  temporary.write_text("half")
  os.kill(os.getpid(), signal.SIGKILL)
"""

_WRITING_OFTEN = """
import sys
from kdmri_jax.saving import replacing
for _ in range(200):
  with replacing(sys.argv[1]) as temporary:
    temporary.write_text(9999 * sys.argv[2])
"""


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def killed_while_writing(path):
  done = subprocess.run([sys.executable, "-c", _KILLED, str(path)])
  assert done.returncode == -signal.SIGKILL
  (left,) = path.parent.glob(".kdmri-*")
  assert names(left) == [".lock", path.name]


class TestReplacing:
  def test_a_failure_leaves_the_file_before(self, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
      temporary.write_text("half")
      1 / 0  # noqa: B018
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]

  def test_a_link_is_replaced_and_its_file_stays(self, tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "a.txt").symlink_to("theirs")
    with replacing(tmp_path / "a.txt") as temporary:
      temporary.write_text("new")
    assert not (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "theirs").read_text() == "theirs"

  def test_the_file_has_the_permissions_of_any_new_file(self, tmp_path):
    """The temporary folder is private, the file is not."""
    mask = os.umask(0o027)
    try:
      with replacing(tmp_path / "a.txt") as temporary:
        folder = temporary.parent.stat().st_mode
        temporary.write_text("new")
    finally:
      os.umask(mask)
    assert stat.S_IMODE(folder) == 0o700
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640

  def test_links_at_names_of_former_versions_are_not_followed(self, tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / f".a.h5.{os.getpid()}").symlink_to(tmp_path / "theirs")
    write_h5(tmp_path / "a.h5", {"x": np.zeros(3)})
    assert (tmp_path / "theirs").read_text() == "theirs"

  def test_every_name_is_another_one(self, tmp_path):
    seen = set()
    for _ in range(9):
      with replacing(tmp_path / "a.txt") as temporary:
        temporary.touch()
        seen.add(temporary.parent.name)
    assert len(seen) == 9

  def test_names_as_long_as_the_disk_allows(self, tmp_path):
    path = tmp_path / ("n" * 255)
    with replacing(path) as temporary:
      temporary.write_text("new")
    assert path.read_text() == "new"

  def test_processes_that_write_one_file_at_once(self, tmp_path):
    path = tmp_path / "a.txt"
    writers = [
      subprocess.Popen([sys.executable, "-c", _WRITING_OFTEN, str(path), text])
      for text in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert (tmp_path / "a.txt").read_text() in ("a" * 9999, "b" * 9999)
    assert names(tmp_path) == ["a.txt"]


class TestLeftovers:
  def test_the_next_write_removes_what_a_kill_left(self, tmp_path):
    killed_while_writing(tmp_path / "a.txt")
    with replacing(tmp_path / "b.txt") as temporary:
      temporary.write_text("new")
    assert names(tmp_path) == ["b.txt"]

  def test_what_is_being_written_stays(self, tmp_path):
    with replacing(tmp_path / "a.txt") as temporary:
      temporary.write_text("new")
      scratch.sweep_below(tmp_path)
    assert (tmp_path / "a.txt").read_text() == "new"

  def test_the_next_start_removes_them_everywhere(self, tmp_path):
    deep = tmp_path / "seed_1" / "kd" / "results"
    deep.mkdir(parents=True)
    killed_while_writing(deep / "a.h5")
    with WorkDir(tmp_path, 1).locked():
      pass
    assert names(deep) == []

  @pytest.mark.parametrize(
    "name",
    [".kdmri-notes.tmp", ".kdmri-0123456789abcdef", ".a.h5.1234", "kdmri.tmp", ".git"],
  )
  def test_folders_of_the_user_stay(self, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").write_text("mine")
    with WorkDir(tmp_path, 1).locked():
      pass
    assert (tmp_path / name / "mine").read_text() == "mine"

  def test_a_link_of_such_a_name_is_not_followed(self, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".lock").touch()
    (tmp_path / "work" / "x").mkdir(parents=True)
    (tmp_path / "work" / ".kdmri-0123456789abcdef.tmp").symlink_to(theirs)
    (tmp_path / "work" / "x" / "outside").symlink_to(theirs)
    with WorkDir(tmp_path / "work", 1).locked():
      pass
    assert names(theirs) == [".lock"]

  @pytest.mark.parametrize("content", [(), ("a.h5",), (".lock", "a.h5")])
  def test_kills_at_any_time_leave_what_the_next_one_removes(self, tmp_path, content):
    """Before the lock, while leftovers were removed, while a file was written."""
    folder = tmp_path / ".kdmri-0123456789abcdef.tmp"
    folder.mkdir()
    for name in content:
      (folder / name).touch()
    scratch.sweep(tmp_path)
    assert names(tmp_path) == []

  def test_parts_of_checkpoints_are_removed(self, tmp_path):
    folder = tmp_path / "seed_1" / "kd" / "checkpoints"
    for name in ("5/best", "10/progress", "15.orbax-checkpoint-tmp/latest"):
      (folder / name).mkdir(parents=True)
    for name in ("9/mine", "2020/mine", "notes/progress"):
      (folder / name).mkdir(parents=True)
    with WorkDir(tmp_path, 1).locked():
      pass
    assert names(folder) == ["10", "2020", "9", "notes"]

  def test_without_a_newer_whole_checkpoint_all_stay(self, tmp_path):
    folder = tmp_path / "seed_1" / "kd" / "checkpoints"
    for name in ("5/progress", "99"):
      (folder / name).mkdir(parents=True)
    checkpoint.sweep(folder)
    assert names(folder) == ["5", "99"]


class TestPlantedLinks:
  def test_a_lock_that_is_a_link_is_refused_and_its_file_stays(self, tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    work = tmp_path / "work"
    work.mkdir()
    (work / ".lock").symlink_to(tmp_path / "theirs")
    with (
      pytest.raises(UserError, match=r"\.lock: found a symbolic link.*Remove the link"),
      WorkDir(work, 1).locked(),
    ):
      pass
    assert (tmp_path / "theirs").read_text() == "theirs"

  def test_a_lock_that_leads_nowhere_creates_nothing(self, tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "new")
    with pytest.raises(UserError, match=r"\.lock: found a symbolic link"):
      WorkDir(tmp_path, 1).locked().__enter__()
    assert not (tmp_path / "new").exists()

  def test_a_lock_of_another_name_of_a_file_truncates_nothing(self, tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / ".lock").hardlink_to(tmp_path / "theirs")
    with WorkDir(tmp_path, 1).locked():
      pass
    assert (tmp_path / "theirs").read_text() == "theirs"

  def test_a_pipe_as_lock_does_not_block(self, tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(UserError, match=r"\.lock: found a failed write"):
      WorkDir(tmp_path, 1).locked().__enter__()

  def test_a_log_that_became_a_link_is_not_written_to(self, tmp_path):
    log = StageLog(tmp_path, "teacher", 0, 20)
    (tmp_path / "metrics.jsonl").rename(tmp_path / "theirs")
    (tmp_path / "metrics.jsonl").symlink_to("theirs")
    with pytest.raises(UserError, match=r"metrics\.jsonl: found a symbolic link"):
      log.audit(1, {})
    log.close()
    assert (tmp_path / "theirs").read_text() == ""

  @pytest.mark.parametrize("name", ["5", "5.orbax-checkpoint-tmp"])
  def test_a_checkpoint_that_is_a_link_is_refused(self, tmp_path, name):
    """Orbax would remove all files of that folder as those of an old checkpoint."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").touch()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).symlink_to(theirs)
    with pytest.raises(UserError, match=rf"{name}: found a symbolic link"):
      checkpoint.Checkpoints(tmp_path / "checkpoints")
    assert names(theirs) == ["thesis.txt"]


class TestFolders:
  def test_a_link_to_a_folder_serves_as_one(self, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to("there")
    make_folder(tmp_path / "here" / "deep")
    assert names(tmp_path / "there") == ["deep"]

  def test_a_link_to_nothing_is_named_with_its_target(self, tmp_path):
    (tmp_path / "here").symlink_to("gone")
    for path in (tmp_path / "here", tmp_path / "here" / "deep"):
      with pytest.raises(
        UserError, match=r"here: found a link to gone, which is no fo"
      ):
        make_folder(path)
    assert names(tmp_path) == ["here"]

  def test_a_file_in_the_way_is_named(self, tmp_path):
    (tmp_path / "here").write_text("mine")
    for path in (tmp_path / "here", tmp_path / "here" / "deep" / "er"):
      with pytest.raises(UserError, match=r"here: found a file; expected a folder"):
        make_folder(path)


class TestNewFolders:
  def test_the_folder_behind_a_link(self, tmp_path):
    (tmp_path / "here").symlink_to("there")
    assert new_folder(tmp_path / "here") == tmp_path / "there"
    (tmp_path / "there").mkdir()
    with replacing(new_folder(tmp_path / "here")) as fresh:
      fresh.mkdir()
      (fresh / "a").touch()
    assert names(tmp_path / "here") == ["a"]

  @pytest.mark.parametrize(
    ("name", "found"),
    [
      ("loop", "a file"),
      ("file", "a file"),
      ("full", "a folder that is not empty"),
      ("empty", "the root of a disk, or the folder of this command"),
    ],
  )
  def test_others_are_refused(self, tmp_path, monkeypatch, name, found):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match=f"{name}: found {found}; expected a folder"):
      new_folder(tmp_path / name)


def test_two_starts_in_one_folder(tmp_path):
  folder = WorkDir(tmp_path, 1)
  refused = pytest.raises(UserError, match="another process that uses this folder")
  with folder.locked(), refused:
    folder.locked().__enter__()
