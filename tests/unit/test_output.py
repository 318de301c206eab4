"""Where a command writes: a full disk, a closed pipe, a poor encoding."""

import os
import pathlib
import subprocess
import sys

import h5py
import pytest
from helpers.refusing import IMAGES


def run(command, **changes):
  root = str(pathlib.Path(__file__).parents[2])
  environment = os.environ | {"PYTHONPATH": root} | changes
  return subprocess.run(
    ["bash", "-c", f"{sys.executable} -m kdmri_jax {command}"],
    capture_output=True,
    text=True,
    env=environment,
    check=False,
  )


@pytest.mark.parametrize("command", ["--help", "evaluate --help"])
def test_output_that_cannot_be_written(command):
  full = run(f"{command} > /dev/full")
  assert full.returncode == 1
  assert full.stderr.startswith("\nerror: standard output: found a failed write")
  closed = run(f"{command} | true; exit ${{PIPESTATUS[0]}}")
  assert closed.returncode in (0, 141) and not closed.stderr


def test_path_that_the_encoding_of_the_terminal_lacks(tmp_path):
  folder = tmp_path / "hürde"
  folder.mkdir()
  with h5py.File(folder / "a.h5", "w") as file:
    file["target"], file["reconstruction"] = IMAGES, IMAGES[:, ::-1]
  changes = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
  done = run(
    f"evaluate --target={folder} --prediction=ö={folder} --out={folder}/ä", **changes
  )
  assert done.returncode == 0, done.stderr
  assert "protocol kdmri" in done.stdout
