"""A command in its surroundings: where it writes, and the name of its process."""

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


COMM = pathlib.Path("/proc/self/comm")


@pytest.mark.skipif(not COMM.exists(), reason="no /proc/self/comm")
def test_name_of_the_process_has_no_space():
  # proctrack/linuxproc of Slurm sends no signal to a process with a space in its name.
  code = "import pathlib, sys; from kdmri_jax import cli; sys.argv = ['kdmri run']\n"
  code += f"cli.run_main(lambda _: print(pathlib.Path('{COMM}').read_text()))"
  found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert found.stdout.strip() == "kdmri", found.stderr
