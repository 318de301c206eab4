"""The notebooks of examples/: their cells run as they stand, one after the other."""

import json
import pathlib
import sys

import pytest
from matplotlib import pyplot

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[2] / "examples").glob("*.ipynb"))
PRINTED = {  # by each notebook
  "attention": "itself: 0.000",
  "compare": "kd_fitnets",
  "loss": "charbonnier",
  "reconstruct": "not for diagnosis",
  "teacher": "given",
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cells_run(path, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", [*sys.path])
  names = {}
  for number, cell in enumerate(json.loads(path.read_text())["cells"], 1):
    if cell["cell_type"] == "code":
      source = "".join(cell["source"])
      exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
  assert PRINTED[path.stem] in capsys.readouterr().out
  if figure := names.get("figure"):
    # Other figures of matplotlib show their name alone at the end of a cell.
    assert hasattr(figure, "_repr_png_") or pyplot.fignum_exists(figure.number)
    figure.savefig("figure.png")
    assert pyplot.imread("figure.png").std() > 0.05
    pyplot.close("all")


def test_the_notebooks_are_kept_without_outputs():
  assert [path.stem for path in NOTEBOOKS] == sorted(PRINTED)
  for path in NOTEBOOKS:
    for cell in json.loads(path.read_text())["cells"]:
      assert not cell.get("outputs") and not cell.get("execution_count"), path.name
