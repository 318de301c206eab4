"""The page docs/adding.md, followed to the letter in a folder outside."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import h5py
import nibabel
import numpy as np
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


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


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


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
  """A folder of the user's own."""
  return tmp_path_factory.mktemp("outside")


def run(folder, command, *, package=ROOT):
  """A command of the page, with this interpreter; says what it printed."""
  words = command.split()
  environment = {**os.environ, "PYTHONPATH": f"{folder}:{package}"}
  while "=" in words[0]:
    words.pop(0)
  program = ["-m", "kdmri_jax"] if words[0] == "kdmri" else []
  words[:1] = [sys.executable, *program]
  found = subprocess.run(
    words, cwd=folder, env=environment, capture_output=True, text=True
  )
  assert found.returncode == 0, found.stdout + found.stderr
  return found.stdout


def test_a_loss_of_ones_own(outside):
  (outside / "my_loss.py").write_text(block("## A loss of your own", "python"))
  command = block("```\nPYTHONPATH")
  assert "report:" in run(outside, " ".join([command, *SMALL, "--stages=student"]))
  config = json.loads((outside / "runs/my_loss/config.json").read_text())
  loss = config["stages"]["student"]["terms"]["reconstruction"]["loss"]
  assert loss == "my_loss:charbonnier"


def test_a_method_of_ones_own(outside):
  text = block("## A distillation method of your own", "python")
  (outside / "mean_activation.py").write_text(text)
  command = block("or one\n`Method`")
  assert "report:" in run(outside, " ".join([command, *SMALL]))


def test_a_method_in_the_package(copy):
  folder = copy / "kdmri_jax" / "distillation" / "methods"
  text = block("## A distillation method of your own", "python")
  (folder / "mean_activation.py").write_text(text)
  text = (folder / "__init__.py").read_text()
  line = block("gets one line in `METHODS`", "python")
  assert text.count("\n}\n") == 1
  text = text.replace("\n}\n", f"\n{line}}}\n")
  imported = "from kdmri_jax.distillation.methods import mean_activation\n"
  text = text.replace("\nMETHODS", f"{imported}\nMETHODS", 1)
  (folder / "__init__.py").write_text(text)
  contract = run(copy, block("The contract of all methods"), package=copy)
  assert re.search(r"\d\d passed|\.{10}", contract)


def test_a_network_of_ones_own(outside):
  (outside / "my_network.py").write_text(block("## A network of your own", "python"))
  (outside / "my_experiment.py").write_text(block("and name it", "python"))
  command = block("```\nPYTHONPATH=. kdmri run --config=my_experiment.py")
  assert "report:" in run(outside, " ".join([command, *SMALL]))


def test_an_optimiser_of_ones_own(outside):
  text = block("## An optimiser of your own", "python")
  (outside / "my_optimiser.py").write_text(text)
  command = block("```\nPYTHONPATH=. kdmri run --config=demo --workdir=runs/my_optim")
  command = command.replace('"', "")
  assert "report:" in run(outside, " ".join([command, *SMALL, "--stages=student"]))
  config = json.loads((outside / "runs/my_optimiser/config.json").read_text())
  assert config["stages"]["student"]["optimiser_settings"] == {"momentum": 0.95}


def test_a_source_of_ones_own(outside):
  (outside / "scans").mkdir()
  rng = np.random.default_rng(0)
  for name in ("head_0", "head_1", "head_2"):
    images = rng.uniform(0, 100, (2, 24, 20)).astype("<f4")
    images.tofile(outside / "scans" / f"{name}.raw")
    (outside / "scans" / f"{name}.json").write_text('{"shape": [2, 24, 20]}')
  module = outside / "my_source.py"
  module.write_text(block("## A data source of your own", "python"))
  train, prepare, reconstruct = block("files:\n\n```").splitlines()
  small = [option for option in SMALL if "config.data" not in option]
  assert "report:" in run(outside, " ".join([train, *small, "--stages=student"]))
  data = json.loads((outside / "runs/my_source/dataset.json").read_text())
  assert data["source"] == "my_source:SOURCE" and data["unit"] == "subject"
  assert data["simulated_kspace"] is True
  assert "3 volumes in prepared" in run(outside, prepare)
  assert (outside / "prepared/head_2.h5").is_file()
  run(outside, reconstruct)
  with h5py.File(outside / "head_0.h5") as file:
    stored = np.fromfile(outside / "scans/head_0.raw", "<f4").reshape(2, 24, 20)
    np.testing.assert_allclose(file["target"], stored, rtol=1e-5)
    assert file["reconstruction"].shape == stored.shape
  more = block("in place of its last line", "python")
  simple = "SOURCE = Source(volumes)\n"
  assert module.read_text().endswith(simple)
  module.write_text(module.read_text().removesuffix(simple) + more)
  mask = np.zeros((24, 20))
  mask[::2] = mask[:3] = mask[-3:] = 1
  kspace = np.fft.fft2(images, norm="ortho") * mask
  kspace.astype("<c8").tofile(outside / "scans" / "head_1.ksp")
  run(outside, block("takes its files without"))
  result = nibabel.load(outside / "head_1.nii")
  assert result.shape == (24, 20, 2)
  assert result.header.get_zooms() == (1.0, 1.0, 5.0)
  zero_filled = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  found = np.moveaxis(result.get_fdata(), 2, 0)
  assert np.corrcoef(found.ravel(), zero_filled.ravel())[0, 1] > 0.5


def test_a_metric_of_ones_own(outside):
  (outside / "my_metrics.py").write_text(block("## A metric of your own", "python"))
  train, evaluate = block("and name it where images").replace('"', "").splitlines()
  trained = run(outside, " ".join([train, *SMALL, "--stages=teacher,student"]))
  assert re.search(r"^model .* PSNR, dB +SSIM +MAE +slices", trained, re.M)
  report = json.loads((outside / "runs/mae/report/report.json").read_text())
  assert {row["model"]: row["MAE"]["n"] for row in report["rows"]}["student"] > 0
  assert {pair["metric"] for pair in report["paired"]} == {"psnr", "ssim", "MAE"}
  measured = run(outside, evaluate)
  assert measured.split()[:4] == ["model", "PSNR,", "dB", "MAE"]
