"""The report's files, and what writing them never destroys."""

import errno
import os
import pathlib

import pytest
from helpers.measured import BARE, load, make_input

from kdmri_jax import report
from kdmri_jax.errors import UserError
from kdmri_jax.report import files, folder


def test_an_earlier_report_is_replaced_and_other_files_are_kept(tmp_path):
  folder = tmp_path / "report"
  report.write(folder, make_input(("zero_filled", "teacher"), **BARE))
  (folder / "notes.txt").write_text("mine")
  (folder / "figures").mkdir()
  (folder / "figures" / "mine.png").write_text("mine")
  (folder / "figures" / "audit.png").write_text("of the earlier report")
  report.write(folder, make_input(**BARE))
  assert len(load(folder)["rows"]) == 4
  assert (folder / "notes.txt").read_text() == "mine"
  assert (folder / "figures" / "mine.png").read_text() == "mine"
  assert not (folder / "figures" / "audit.png").exists()
  assert [path.name for path in tmp_path.iterdir()] == ["report"]
  assert not [name for name in os.listdir(folder) if name.startswith(".")]


def full_disk(*arguments):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failing_report_leaves_the_earlier_one(monkeypatch, tmp_path):
  folder = tmp_path / "report"
  report.write(folder, make_input(("zero_filled", "teacher"), **BARE))
  before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
  monkeypatch.setattr(files.tables, "write_tables", full_disk)
  with pytest.raises(UserError, match="no space left"):
    report.write(folder, make_input(**BARE))
  after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
  assert after == before
  assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_every_file_of_a_report_is_known(tmp_path):
  """A file that is not known would stay beside those of the next report."""
  written = report.write(tmp_path, make_input()).parent.rglob("*.*")
  assert {str(path.relative_to(tmp_path)) for path in written} <= {*folder.FILES}


def test_a_link_to_a_folder_is_followed_and_loses_nothing(tmp_path):
  elsewhere, folder = tmp_path / "elsewhere", tmp_path / "report"
  elsewhere.mkdir()
  (elsewhere / "thesis.txt").write_text("mine")
  folder.symlink_to(elsewhere)
  for networks in (("zero_filled", "teacher"), ("zero_filled", "teacher", "kd")):
    report.write(folder, make_input(networks, **BARE))
    assert len(load(elsewhere)["rows"]) == len(networks)
    assert (elsewhere / "thesis.txt").read_text() == "mine"
    assert folder.is_symlink()
  assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "report"}


@pytest.mark.parametrize("name", ["index.html", "report.json", "figures/mask.png"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_of_somebody_else_is_not_replaced(tmp_path, name, linked):
  elsewhere, folder = tmp_path / "elsewhere", tmp_path / "report"
  if linked:
    folder.symlink_to(elsewhere)
  own = (elsewhere if linked else folder) / name
  own.parent.mkdir(parents=True)
  own.write_text("{}")
  with pytest.raises(UserError, match=rf"{name}: found a file that no report wrote"):
    report.write(folder, make_input(**BARE))
  assert own.read_text() == "{}"
  assert [path for path in own.parent.iterdir()] == [own]


def test_links_in_the_folder_are_replaced_and_not_followed(tmp_path):
  folder, elsewhere = tmp_path / "report", tmp_path / "elsewhere"
  report.write(folder, make_input(("zero_filled", "teacher"), **BARE))
  elsewhere.mkdir()
  (folder / "figures").mkdir()
  (folder / "figures" / "mask.png").touch()
  for name in ("index.html", "figures"):
    (folder / name).rename(elsewhere / name)
    (folder / name).symlink_to(elsewhere / name)
  before = _contents(elsewhere)
  report.write(folder, make_input(**BARE))
  assert _contents(elsewhere) == before
  assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize(
  ("name", "found"), [("index.html", "a folder"), ("figures", "a file")]
)
def test_another_kind_of_file_in_the_way_is_refused(tmp_path, name, found):
  report.write(tmp_path, make_input(("zero_filled", "teacher"), **BARE))
  path = tmp_path / name
  if name == "figures":
    path.write_text("mine")
  else:
    path.unlink()
    path.mkdir()
  before = _contents(tmp_path)
  with pytest.raises(UserError, match=rf"{name}: found {found}; .*Move it"):
    report.write(tmp_path, make_input(**BARE))
  assert _contents(tmp_path) == before


@pytest.mark.parametrize("count", range(0, 24, 3))
def test_a_replacement_that_ends_anywhere_mixes_no_reports(
  tmp_path, monkeypatch, count
):
  """It ends before one of its changes to the folder; the next report is whole."""
  first = make_input(("zero_filled", "teacher"), **BARE)
  second = make_input(**BARE)
  whole = [
    report.write(tmp_path / n, i).parent for n, i in (("a", first), ("b", second))
  ]
  old, new = map(_contents, whole)
  folder = whole[0]
  (folder / "notes.txt").write_text("mine")
  with monkeypatch.context() as patch:
    _end_after(patch, count)
    with pytest.raises(_End):
      files._take_place(_copy(whole[1], tmp_path / "fresh"), folder)
  left = _contents(folder)
  assert left.pop("notes.txt") == b"mine"
  assert left.items() <= old.items() or left.items() <= new.items()
  assert "index.html" not in left or left in (old, new)
  report.write(folder, second)
  assert _contents(folder) == new | {"notes.txt": b"mine"}


class _End(BaseException):
  """Stands for the end of the process."""


def _end_after(patch, count):
  """Ends at a number of removals and moves of files."""

  def counted(change):
    def wrapper(*arguments, **options):
      nonlocal count
      count -= 1
      if count < 0:
        raise _End
      return change(*arguments, **options)

    return wrapper

  patch.setattr(os, "replace", counted(os.replace))
  patch.setattr(pathlib.Path, "unlink", counted(pathlib.Path.unlink))


def _copy(folder, there):
  for name, content in _contents(folder).items():
    (there / name).parent.mkdir(parents=True, exist_ok=True)
    (there / name).write_bytes(content)
  return there


def _contents(folder):
  files = (path for path in folder.rglob("*") if path.is_file())
  return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_same_input_same_report(tmp_path):
  folders = [
    report.write(tmp_path / name, make_input(**BARE)).parent for name in ("a", "b")
  ]
  for name in ("index.html", "report.json", "figures/differences.pdf"):
    first, second = ((folder / name).read_bytes() for folder in folders)
    assert first == second
