"""Networks trained on given inputs: the commands, the report, new scans."""

import json

import h5py
import nibabel
import numpy as np
import pytest
from helpers import commands
from helpers.data_files import save_nifti
from helpers.tiny import finish, run_file, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.config import PhantomConfig
from kdmri_jax.data.sources import phantom
from kdmri_jax.report import write_reports
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """Folders "clean" and "noisy" of NIfTI files of one name."""
  root, generator = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
  recipe = PhantomConfig("brain", len(NAMES), 3, (24, 20))
  for k, name in enumerate(NAMES):
    clean = np.moveaxis(phantom.draw_subject(recipe, k, "brain"), 0, 2)
    noise = generator.normal(size=(2, *clean.shape))
    noisy = np.abs(clean + 0.1 * (noise[0] + 1j * noise[1]))
    save_nifti(root / f"clean/{name}.nii.gz", (500 * clean).astype(np.float32))
    save_nifti(root / f"noisy/{name}.nii.gz", (400 * noisy).astype(np.float32))
  return root


def config(folders, **changes):
  made = tiny_config(epochs=1, devices=1, **changes)
  edsr = {"network": "edsr", "blocks": 1, "features": 4}
  made.models = {"teacher": {**edsr, "features": 6}, "student": edsr}
  made.data.update(source="nifti", root=str(folders / "clean"), validation=("d",))
  made.data.inputs.root = str(folders / "noisy")
  made.mask.update(kind="full", acceleration=2.0, centre_lines=1)
  made.augment.update(flips=True, rotations=True, patch=(16, 16))
  del made.stages.feature
  made.stages.kd.start_from = ""
  made.pipeline = ("teacher", "student", "kd")
  return made


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
  """A run with the weights that its stages start from."""
  path = tmp_path_factory.mktemp("run")
  pipeline = Experiment(config_lib.parse(config(folders)), path)
  finish(pipeline, *pipeline.config.pipeline)
  return pipeline


def stored(path):
  return np.moveaxis(np.asarray(nibabel.load(path).dataobj), 2, 0)


def test_the_row_of_the_input_is_the_given_one(folders, run):
  path = write_reports.write_reports([run])[0].path.parent
  report = json.loads((path / "report.json").read_text())
  clean, noisy = (stored(folders / kind / "d.nii.gz") for kind in ("clean", "noisy"))
  with h5py.File(run.workdir.path / "targets/d.h5") as file:
    target = file["target"][()]
  with h5py.File(run.workdir.results("zero_filled") / "d.h5") as file:
    given = file["reconstruction"][()]
  np.testing.assert_allclose(target, clean / noisy.max(), rtol=1e-5)
  np.testing.assert_allclose(given, noisy / noisy.max(), atol=1e-5)
  row = next(r for r in report["rows"] if r["model"] == "zero_filled")
  error = np.mean((clean - noisy) ** 2)
  psnr = 10 * np.log10(clean.max() ** 2 / error)
  assert row["psnr"]["mean"] == pytest.approx(psnr, abs=0.01)
  text = (path / "report.md").read_text()
  assert "The inputs are given." in text
  assert "K-space was simulated from processed images" not in text


def test_a_new_scan_is_an_input_without_target(folders, run, tmp_path):
  image = 3 * stored(folders / "noisy/a.nii.gz")
  save_nifti(tmp_path / "new.nii.gz", np.moveaxis(image, 0, 2))
  images = run_file(run.workdir.path, "kd", tmp_path / "new.nii.gz")
  assert set(images) == {"reconstruction", "zero_filled"}
  np.testing.assert_allclose(images["zero_filled"], image, rtol=1e-4, atol=0.02)
  # As in training: the same input in another unit gives the same image in that unit.
  before = run_file(run.workdir.path, "kd", folders / "noisy/a.nii.gz")
  np.testing.assert_allclose(
    images["reconstruction"], 3 * before["reconstruction"], rtol=1e-3, atol=0.1
  )


def test_the_commands_prepare_and_reconstruct(folders, run, tmp_path):
  arguments = ("--source=nifti", f"--root={folders / 'clean'}")
  arguments += (f"--inputs_root={folders / 'noisy'}", "--out=prepared")
  done = commands.run("prepare", *arguments, cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  with h5py.File(tmp_path / "prepared/a.h5") as file:
    noisy = stored(folders / "noisy/a.nii.gz")
    np.testing.assert_allclose(file["input"], noisy / noisy.max(), rtol=1e-6)
  done = commands.run(
    "reconstruct",
    f"--workdir={run.workdir.path}",
    "--input=prepared/a.h5",
    "--source=prepared",
    "--out=a.h5",
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  assert "input -> output: PSNR" in done.stdout
  assert "with given inputs" in done.stdout
  with (
    h5py.File(tmp_path / "a.h5") as file,
    h5py.File(tmp_path / "prepared/a.h5") as own,
  ):
    np.testing.assert_allclose(file["target"], own["target"], rtol=1e-6)
    np.testing.assert_allclose(file["zero_filled"], own["input"], atol=1e-5)
  message = commands.refused(
    "prepare",
    *arguments[:3],
    "--inputs_match=subject",
    "--inputs_root=",
    "--out=p",
    cwd=tmp_path,
  )
  assert "--inputs_match: found 'subject', although no inputs are given" in message


@pytest.mark.slow
def test_a_student_learns_to_denoise(folders, tmp_path):
  made = config(folders)
  made.epochs = 30
  made.batch_size = 2
  for stage in made.stages.values():
    stage.learning_rate = 1e-2
  pipeline = Experiment(config_lib.parse(made), tmp_path)
  train(pipeline)
  path = write_reports.write_reports([pipeline])[0].path.parent
  report = json.loads((path / "report.json").read_text())
  psnr = {row["model"]: row["psnr"]["mean"] for row in report["rows"]}
  assert psnr["kd"] > psnr["zero_filled"] + 1


@pytest.mark.slow
@pytest.mark.parametrize(
  ("study", "stages"),
  [("model_based", ("teacher", "kd_alpha_050")), ("task_based", ("student",))],
)
def test_the_studies_of_enhancement_run_on_pairs(folders, tmp_path, study, stages):
  """Both tasks start from the given input, as it is or at half of its resolution."""
  edsr = dict(network="edsr", blocks=1, features=4)
  swinir = dict(network="swinir", depths=(1,), features=4, heads=2)
  networks = {
    "model_based": dict(teacher=swinir, student=edsr),
    "task_based": dict(edsr=edsr),
  }[study]
  sizes = (
    f"--config.models.{model}.{name}={value}"
    for model, network in networks.items()
    for name, value in network.items()
  )
  done = commands.run(
    "run",
    f"--config={study}:pairs",
    "--workdir=run",
    f"--stages={','.join(stages)}",
    "--config.data.source=nifti",
    f"--config.data.root={folders / 'clean'}",
    f"--config.data.inputs.root={folders / 'noisy'}",
    "--config.data.validation=('d',)",
    "--config.augment.patch=(16,16)",
    "--config.epochs=1",
    "--config.devices=1",
    *sizes,
    cwd=tmp_path,
  )
  assert done.returncode == 0, done.stderr
  clean, noisy = (
    np.float64(stored(folders / kind / "d.nii.gz")) for kind in ("clean", "noisy")
  )
  inputs = {"": noisy}
  if study == "task_based":
    kspace = np.fft.fftshift(np.fft.fft2(noisy), axes=(-2, -1))
    outside = np.ones_like(kspace, bool)
    outside[:, 6:18, 5:15] = False
    kspace[outside] = 0
    sharpen = np.abs(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1))))
    inputs = {"denoise": noisy, "sharpen": sharpen}
  for task, expected in inputs.items():
    path = tmp_path / "run/seed_42/zero_filled/results" / task / "d.h5"
    with h5py.File(path) as file:
      given = file["reconstruction"][()]
    np.testing.assert_allclose(given, expected / noisy.max(), atol=1e-5)
    report = json.loads((tmp_path / "run/report" / task / "report.json").read_text())
    rows = {row["model"]: row["psnr"]["mean"] for row in report["rows"]}
    psnr = 10 * np.log10(clean.max() ** 2 / np.mean((clean - expected) ** 2))
    assert rows["zero_filled"] == pytest.approx(psnr, abs=0.01)
    assert {*rows} == {"zero_filled", *stages}
