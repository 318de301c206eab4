"""The page docs/adding.md, followed to the letter in a copy of the repository."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text()

# A few steps on small phantoms instead of the demo's head.
SMALL = (
  "--config.data.source=phantom",
  "--config.data.crop=(0,0)",
  "--config.data.phantom.subjects=4",
  "--config.data.phantom.slices=2",
  "--config.data.phantom.size=(24,20)",
  "--config.mask.centre_lines=4",
  "--config.epochs=1",
  "--config.audit_every=0",
  "--stages=teacher,student,feature",
  "--config.evaluation.models=('teacher','student','feature')",
  "--config.evaluation.distilled=('feature',)",
)


def block(before, language=""):
  """The first code block after these words, without its indentation."""
  text = PAGE[PAGE.index(before) :]
  match = re.search(rf"^( *)```{language}\n(.*?)^ *```$", text, re.M | re.S)
  indent = len(match[1])
  return "".join(line[indent:] + "\n" for line in match[2].splitlines())


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
  folder = tmp_path_factory.mktemp("adding") / "kdmri_jax"
  for name in ("kdmri_jax", "experiments", "scripts", "tests"):
    unneeded = shutil.ignore_patterns("__pycache__", "golden")
    shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=unneeded)
  shutil.copy(ROOT / "pyproject.toml", folder)
  return folder


def run(folder, command):
  """A command of the page, with this interpreter and the copy's package."""
  words = command.split()
  environment = {**os.environ, "PYTHONPATH": str(folder)}
  while "=" in words[0]:
    words.pop(0)
  program = ["-m", "kdmri_jax"] if words[0] == "kdmri" else []
  words[:1] = [sys.executable, *program]
  return subprocess.run(
    words, cwd=folder, env=environment, capture_output=True, text=True
  )


@pytest.mark.slow
def test_a_method_in_one_file_and_one_line(copy):
  file = block("1. Write one file", "python")
  (copy / "kdmri_jax" / "distillation" / "methods" / "mean_activation.py").write_text(
    file
  )
  registry = copy / "kdmri_jax" / "distillation" / "methods" / "__init__.py"
  text = registry.read_text()
  line = block("2. Register it", "python")
  assert text.count("\n}\n") == 1
  text = text.replace("\n}\n", f"\n{line}}}\n")
  imported = "from kdmri_jax.distillation.methods import mean_activation\n"
  registry.write_text(text.replace("\nMETHODS", f"{imported}\nMETHODS", 1))
  contract = run(copy, block("3. Hold it"))
  assert contract.returncode == 0, contract.stdout
  assert re.search(r"\d\d passed|\.{10}", contract.stdout)
  trained = run(copy, " ".join([block("4. Train"), *SMALL]))
  assert trained.returncode == 0, trained.stderr
  assert "report:" in trained.stdout


@pytest.mark.slow
def test_a_network_of_ones_own(copy):
  (copy / "my_network.py").write_text(block("## A network of your own", "python"))
  (copy / "my_experiment.py").write_text(block("and name it", "python"))
  trained = run(copy, " ".join([block("```\nPYTHONPATH"), *SMALL]))
  assert trained.returncode == 0, trained.stderr
  assert "report:" in trained.stdout


def test_a_metric_of_ones_own(copy):
  (copy / "my_metrics.py").write_text(block("## A metric of your own", "python"))
  train, evaluate = block("and name it where images").replace('"', "").splitlines()
  trained = run(copy, " ".join([train, *SMALL, "--stages=teacher,student"]))
  assert trained.returncode == 0, trained.stderr
  assert re.search(r"^model .* PSNR, dB +SSIM +MAE +volumes", trained.stdout, re.M)
  report = json.loads((copy / "runs/mae/report/report.json").read_text())
  assert {row["model"]: row["MAE"]["n"] for row in report["rows"]}["student"] > 0
  assert {pair["metric"] for pair in report["paired"]} == {"psnr", "ssim", "MAE"}
  measured = run(copy, evaluate)
  assert measured.returncode == 0, measured.stderr
  assert measured.stdout.split()[:4] == ["model", "PSNR,", "dB", "MAE"]
