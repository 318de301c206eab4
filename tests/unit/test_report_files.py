"""The report's files, and what writing them never destroys."""

import numpy as np
import pytest
from helpers.measured import BARE, load, make_input

from kdmri_jax import report


def test_an_earlier_report_is_replaced_and_other_files_are_kept(tmp_path):
  folder = tmp_path / "report"
  report.write(folder, make_input(("zero_filled", "teacher"), **BARE))
  (folder / "notes.txt").write_text("mine")
  (folder / "figures").mkdir()
  (folder / "figures" / "stale.png").write_text("old")
  report.write(folder, make_input(**BARE))
  assert len(load(folder)["rows"]) == 4
  assert (folder / "notes.txt").read_text() == "mine"
  assert not (folder / "figures" / "stale.png").exists()
  assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_failing_report_leaves_the_earlier_one(tmp_path):
  folder = tmp_path / "report"
  report.write(folder, make_input(("zero_filled", "teacher"), **BARE))
  before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
  with pytest.raises(KeyError, match="target"):
    report.write(folder, make_input(comparison_images={"kd": np.ones((9, 9))}))
  after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
  assert after == before
  assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_same_input_same_report(tmp_path):
  folders = [
    report.write(tmp_path / name, make_input(**BARE)).parent for name in ("a", "b")
  ]
  for name in ("index.html", "report.json", "figures/differences.png"):
    first, second = ((folder / name).read_bytes() for folder in folders)
    assert first == second
