"""The package as users have it: installed from a wheel, and as a plain folder."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import kdmri_jax

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("kdmri_jax", "experiments", "scripts")
COMMANDS = sorted(path.stem for path in (ROOT / "scripts").glob("[!_]*.py"))

CONFIG = """
from kdmri_jax.experiments import base

def get_config():
  config = base.get_config()
  config.name = "My own"
  config.epochs = 2
  config.pipeline = config.evaluation.models = ("teacher", "student")
  config.evaluation.distilled = ()
  config.data.phantom.update(subjects=8, slices=2, size=(24, 20))
  config.mask.centre_lines = 4
  for model in config.models.values():
    model.update(features=4, cascades=1)
  return config
"""


def call(*command, cwd, **variables):
  """Runs a command that sees no other copy of the package; its standard output."""
  hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
  known = {k: v for k, v in os.environ.items() if k not in hidden}
  done = subprocess.run(
    list(map(str, command)),
    cwd=cwd,
    env=known | variables,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
  """The files of a clone, with its links and without build outputs."""
  folder = tmp_path_factory.mktemp("checkout")
  built = shutil.ignore_patterns("__pycache__", "*.so")
  for name in FOLDERS:
    shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=built)
  for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, folder)
  return folder


def environment(folder):
  """A Python environment without any package, this one's least of all."""
  call(sys.executable, "-m", "venv", "--without-pip", folder, cwd="/")
  return folder / "bin" / "python"


def add_dependencies(python):
  """Lets it see the packages of the tests; their editable installs stay unseen."""
  folder = call(python, "-c", "import site; print(site.getsitepackages()[0])", cwd="/")
  path = pathlib.Path(folder.strip(), "dependencies.pth")
  path.write_text(sysconfig.get_path("purelib"))


def modules(folder, names):
  """The Python files of a checkout as a wheel names them."""
  return {
    path.relative_to(folder).as_posix()
    if name == "kdmri_jax"
    else f"kdmri_jax/{path.relative_to(folder).as_posix()}"
    for name in names
    for path in (folder / name).rglob("*.py")  # follows no links
  }


def check_report(workdir):
  report = json.loads((workdir / "report" / "report.json").read_text())
  assert [row["model"] for row in report["rows"]] == [
    "zero_filled",
    "teacher",
    "student",
  ]
  assert report["environment"]["kdmri_jax"] == kdmri_jax.__version__


def test_a_wheel_of_the_source_distribution_trains_in_an_empty_folder(
  checkout, tmp_path
):
  code = "from setuptools import build_meta; build_meta.build_sdist('dist')"
  call(sys.executable, "-c", code, cwd=checkout)
  (sdist,) = (checkout / "dist").glob("*.tar.gz")
  pip = (sys.executable, "-m", "pip")
  alone = ("--quiet", "--no-deps", "--no-index")
  call(*pip, "wheel", *alone, "--no-build-isolation", sdist, cwd=tmp_path)
  (wheel,) = tmp_path.glob("kdmri_jax-*.whl")
  with zipfile.ZipFile(wheel) as file:
    held = [name for name in file.namelist() if name.endswith(".py")]
    networks = {name for name in file.namelist() if "/pretrained/" in name}
  assert set(held) == modules(checkout, FOLDERS)
  there = (checkout / "kdmri_jax" / "pretrained").rglob("*.*")
  assert networks == {path.relative_to(checkout).as_posix() for path in there}

  python = environment(tmp_path / "environment")
  call(*pip, "--python", python, "install", *alone, wheel, cwd=tmp_path)
  add_dependencies(python)
  empty = tmp_path / "empty"
  empty.mkdir()
  place = call(python, "-c", "import kdmri_jax; print(kdmri_jax.__file__)", cwd=empty)
  assert (tmp_path / "environment") in pathlib.Path(place).parents
  kdmri = python.with_name("kdmri")
  listed = call(kdmri, "--help", cwd=empty)
  for command in COMMANDS:
    assert f"\n  {command} " in listed
    assert f"\n  kdmri {command} " in call(kdmri, command, "--help", cwd=empty)
  (empty / "my.py").write_text(CONFIG)
  shown = call(kdmri, "run", "--config=my.py", "--workdir=w", cwd=empty)
  assert "report: w/report/index.html" in shown
  check_report(empty / "w")


def test_a_plain_folder_trains_without_installation(checkout, tmp_path):
  python = environment(tmp_path / "environment")
  add_dependencies(python)
  (tmp_path / "my.py").write_text(CONFIG)
  path = str(checkout)
  run = (python, "-m", "kdmri_jax", "run", "--config=my.py", "--workdir=w")
  call(*run, cwd=tmp_path, PYTHONPATH=path)
  check_report(tmp_path / "w")
  script = checkout / "scripts" / "run.py"
  again = call(
    python, script, "--config=my.py", "--workdir=w", cwd=tmp_path, PYTHONPATH=path
  )
  assert "report: w/report/index.html" in again
