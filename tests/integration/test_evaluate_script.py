"""scripts/evaluate.py as a user runs it."""

import csv

import h5py
import numpy as np
import pytest
from helpers import commands

from kdmri_jax import metrics
from kdmri_jax.protocols import PROTOCOLS


def run(*arguments, cwd):
  return commands.run("evaluate", *arguments, cwd=cwd)


@pytest.fixture
def volumes(tmp_path):
  """A target and two predictions, [2, 10, 12], as files and arrays."""
  rng = np.random.default_rng(0)
  target = rng.random((2, 10, 12))
  arrays = {"target": target}
  for name, noise in (("kd", 0.1), ("teacher/results", 0.05)):
    arrays[name] = target + noise * rng.standard_normal(target.shape)
  for name, volume in arrays.items():
    (tmp_path / name).mkdir(parents=True)
    with h5py.File(tmp_path / name / "v.h5", "w") as file:
      file["reconstruction"] = volume
  return tmp_path, arrays


def test_table_and_files(volumes):
  folder, arrays = volumes
  done = run(
    "--target=target",
    "--prediction=kd,teacher/results",
    "--prediction=again=kd",
    "--protocol=slice",
    "--out=metrics",
    cwd=folder,
  )
  assert done.returncode == 0, done.stderr
  expected = {
    "kd": metrics.all(arrays["target"], arrays["kd"], "slice"),
    "teacher": metrics.all(arrays["target"], arrays["teacher/results"], "slice"),
  }
  lines = [line.split() for line in done.stdout.splitlines()[2:5]]
  assert [line[0] for line in lines] == ["kd", "teacher", "again"]
  assert lines[0][1:] == lines[2][1:]
  for line in lines[:2]:
    values = expected[line[0]]
    assert line[1] == f"{values['psnr']:.2f}" and line[2] == f"{values['ssim']:.4f}"
  assert f"protocol slice: {PROTOCOLS['slice'].definition}" in done.stdout
  with (folder / "metrics" / "volumes.csv").open() as file:
    rows = [row for row in csv.DictReader(file) if row["protocol"] == "slice"]
  assert float(rows[0]["psnr"]) == expected["kd"]["psnr"]
  assert len(list((folder / "metrics").iterdir())) == 4


def test_chosen_metrics(volumes):
  folder, arrays = volumes
  chosen = "--metrics=nmse,ssim"
  done = run("--target=target", "--prediction=kd", chosen, "--out=metrics", cwd=folder)
  assert done.returncode == 0, done.stderr
  header, _, row = (line.split() for line in done.stdout.splitlines()[:3])
  assert header == ["model", "NMSE", "SSIM", "volumes"]
  nmse = metrics.nmse(arrays["target"], arrays["kd"])
  assert row[:2] == ["kd", f"{nmse:.5f}"]
  written = (folder / "metrics" / "volumes.csv").read_text()
  expected = "model,volume,subject,protocol,nmse,ssim,empty_slices"
  assert written.splitlines()[0] == expected


def test_nothing_is_overwritten(volumes):
  folder, _ = volumes
  (folder / "metrics").mkdir()
  (folder / "metrics" / "volumes.csv").write_text("mine")
  done = run("--target=target", "--prediction=kd", "--out=metrics", cwd=folder)
  assert done.returncode == 1
  assert done.stderr.count("\n") <= 2 and "not empty" in done.stderr
  assert (folder / "metrics" / "volumes.csv").read_text() == "mine"


def test_bad_input_is_one_paragraph(volumes):
  folder, _ = volumes
  done = run("--target=target", "--prediction=nowhere", "--out=metrics", cwd=folder)
  assert done.returncode == 1
  assert "nowhere: found no such folder" in done.stderr
  assert "Traceback" not in done.stderr and not (folder / "metrics").exists()
  done = run("--target=target", "--prediction=kd", "--metrics=psrn", cwd=folder)
  assert done.returncode == 1
  assert "--metrics: found 'psrn'" in done.stderr and "mean 'psnr'" in done.stderr
  done = run("--target=target", "--prediction=kd,kd", cwd=folder)
  assert done.returncode == 1 and "a second folder called 'kd'" in done.stderr
