"""The page docs/library.md: its code blocks run as they stand, one after the other."""

import pathlib
import re

import pytest

import kdmri_jax as kd

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "library.md"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


@pytest.mark.filterwarnings("ignore::UserWarning")  # the network of phantoms
def test_the_code_blocks_run(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
  names = {}
  for number, block in enumerate(blocks, 1):
    exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
  printed = capsys.readouterr().out
  assert "(48, 40) 12 lines" in printed
  assert "(3, 48, 40) (3, 48, 40)" in printed
  assert "report: runs/small/report/index.html" in printed
  assert (tmp_path / "comparison.png").is_file()


def test_it_shows_every_room():
  page = PAGE.read_text()
  assert all(f"kd.{name}" in page for name in kd.__all__)
