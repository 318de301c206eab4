"""The commands as users run them: exit codes, what they print and write."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import h5py
import jax
import jax.export
import nibabel
import numpy as np
import onnxruntime
import pytest
from helpers.commands import refused, run
from helpers.tiny import assert_same_end, final, run_file

pytestmark = pytest.mark.usefixtures("quick_compilation")

ROOT = pathlib.Path(__file__).parents[2]

TINY = (
  "--config=base",
  "--config.epochs=2",
  "--config.devices=2",
  "--config.checkpoint_seconds=0.2",
  "--config.audit_every=0",
  "--config.data.phantom.subjects=8",
  "--config.data.phantom.slices=3",
  "--config.data.phantom.size=(24,20)",
  "--config.mask.centre_lines=4",
  "--config.models.teacher.features=4",
  "--config.models.student.features=4",
  "--config.models.teacher.cascades=2",
  "--config.models.student.cascades=2",
  "--config.stages.feature.terms.attention.guided="
  "('cascade_1/activation_2','cascade_2/activation_2')",
  "--config.stages.feature.terms.attention.hint="
  "('cascade_1/activation_3','cascade_2/activation_3')",
)
THREE_STAGES = (*TINY, "--stages=teacher,feature,kd")


def started(script, *arguments):
  """A script in a process of its own."""
  words = [sys.executable, f"scripts/{script}.py", *arguments]
  return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def train_three_stages(folder):
  with started("run", *THREE_STAGES, f"--workdir={folder}") as run:
    _, stderr = run.communicate()
  assert run.returncode == 0, stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """A finished run of the four stages."""
  folder = tmp_path_factory.mktemp("scripts") / "run"
  done = run("run", *TINY, f"--workdir={folder}")
  assert done.returncode == 0, done.stderr
  assert "report:" in done.stdout
  assert str(folder / "report" / "index.html") in done.stdout
  assert "kd" in done.stdout
  return folder


SCRIPTS = ["run", "prepare", "reconstruct", "evaluate", "export"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_helps(script):
  done = run(script, "--help")
  assert done.returncode == 0
  assert f"kdmri {script}" in done.stdout
  assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  """A run of three stages that nobody kills."""
  folder = tmp_path_factory.mktemp("undisturbed") / "run"
  train_three_stages(folder)
  return folder


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 3])
def test_kill_minus_nine_changes_no_bit(undisturbed, tmp_path, epochs):
  """Killed within a stage and started again, the weights are those undisturbed."""
  folder = tmp_path / "run"
  with started("run", *THREE_STAGES, f"--workdir={folder}") as killed:
    while _epochs(folder) < epochs:
      assert killed.poll() is None, killed.communicate()[1]
      time.sleep(0.002)
    killed.kill()
  train_three_stages(folder)
  for stage in ("teacher", "feature", "kd"):
    assert_same_end(final(folder, stage), final(undisturbed, stage))


def _epochs(folder):
  files = folder.glob("seed_*/*/metrics.jsonl")
  return sum(path.read_text().count("\n") for path in files)


@pytest.mark.slow
def test_sigterm_saves_and_says_so(tmp_path):
  folder = tmp_path / "run"
  with started("run", *TINY, f"--workdir={folder}", "--config.epochs=1000") as run:
    while _epochs(folder) < 1:
      assert run.poll() is None, run.communicate()[1]
      time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    _, stderr = run.communicate()
  assert run.returncode == 128 + signal.SIGTERM
  assert not re.match("I[0-9]", stderr)  # messages come without absl's prefix
  assert "everything is saved. Start the same command again" in stderr


@pytest.mark.slow
def test_reconstruct_images_and_kspace(workdir, tmp_path):
  images = np.random.default_rng(0).random((20, 24, 3)) * 500
  path = tmp_path / "head.nii.gz"
  nibabel.save(nibabel.Nifti1Image(images.astype(np.float32), np.eye(4)), path)
  out = tmp_path / "out.h5"
  arguments = (f"--workdir={workdir}", f"--input={path}", f"--out={out}")
  done = run("reconstruct", *arguments)
  assert done.returncode == 0, done.stderr
  with h5py.File(out) as file:
    target, zero_filled = file["target"][()], file["zero_filled"][()]
    reconstruction = file["reconstruction"][()]
  np.testing.assert_allclose(target, np.moveaxis(images, 2, 0), rtol=1e-5)

  from kdmri_jax.inference import load

  mask = load.load(workdir, "kd", (20, 24)).acquisition.masks[0]
  kspace = np.fft.fft2(target, norm="ortho") * mask
  np.testing.assert_allclose(
    zero_filled, np.abs(np.fft.ifft2(kspace, norm="ortho")), atol=1e-3
  )
  # Where k and -k are both sampled, a real image keeps the measured k-space.
  both = mask * np.roll(mask[::-1, ::-1], (1, 1), (0, 1))
  error = np.fft.fft2(reconstruction, norm="ortho") * both - kspace * both
  assert np.abs(error).max() < 1e-2 * np.abs(kspace).max()

  measured = tmp_path / "measured.h5"
  with h5py.File(measured, "w") as file:
    file["kspace"] = kspace.astype(np.complex64)
  again = tmp_path / "again.h5"
  arguments = (f"--workdir={workdir}", f"--input={measured}", f"--out={again}")
  assert run("reconstruct", *arguments).returncode == 0
  with h5py.File(again) as file:
    assert set(file) == {"reconstruction", "zero_filled"}
    np.testing.assert_allclose(file["zero_filled"][()], zero_filled, atol=1e-3)

  assert "a file there" in refused("reconstruct", *arguments)
  with h5py.File(measured, "w") as file:
    file["kspace"] = (kspace + 1).astype(np.complex64)
  elsewhere = (*arguments[:2], f"--out={tmp_path / 'new.h5'}")
  message = refused("reconstruct", *elsewhere)
  assert "points where the mask has none" in message
  assert "one of the seeds 42" in refused("reconstruct", *elsewhere, "--seed=7")
  assert not (tmp_path / "new.h5").exists()


@pytest.mark.slow
def test_from_nifti_to_nifti_measured_against_h5(workdir, tmp_path):
  images = np.random.default_rng(0).random((20, 24, 3)).astype(np.float32)
  affine = np.array([[0, -2, 0, 7], [1.5, 0, 0, -3], [0, 0, -4, 9], [0, 0, 0, 1.0]])
  path, out = tmp_path / "head.nii.gz", tmp_path / "kd" / "head.nii.gz"
  nibabel.save(nibabel.Nifti1Image(images, affine), path)
  out.parent.mkdir()
  (tmp_path / "target").mkdir()
  with h5py.File(tmp_path / "target" / "head.h5", "w") as file:
    file["target"] = np.moveaxis(images, 2, 0)
  arguments = (f"--workdir={workdir}", f"--input={path}", f"--out={out}")
  done = run("reconstruct", *arguments)
  assert done.returncode == 0, done.stderr
  written = nibabel.load(out)
  np.testing.assert_array_equal(written.affine, nibabel.load(path).affine)
  assert written.shape == images.shape
  folders = (f"--target={tmp_path / 'target'}", f"--prediction={out.parent}")
  done = run("evaluate", *folders)
  assert done.returncode == 0, done.stderr
  error = np.mean((written.get_fdata() - images) ** 2)
  assert f"{10 * np.log10(images.max() ** 2 / error):.2f}" in done.stdout
  elsewhere = (*arguments[:2], f"--out={tmp_path / 'b.nii'}", "--source=bart")
  assert "head" in refused("reconstruct", *elsewhere)
  assert not (tmp_path / "b.nii").exists()


@pytest.mark.slow
def test_export(workdir, tmp_path):
  arguments = (f"--workdir={workdir}", "--stage=kd", f"--out={tmp_path / 'kd.pt'}")
  done = run("export", *arguments)
  assert done.returncode == 0, done.stderr
  assert "kd.pt: DCCNN of 450 parameters" in done.stdout
  assert "x + CNN(x)" in done.stdout

  from kdmri_jax import interop
  from kdmri_jax.inference import load

  network = load.load(workdir, "kd", (24, 20))
  model, variables = interop.load_kdmri_checkpoint(tmp_path / "kd.pt")
  assert (model.variant, model.cascades) == ("paper", 2)
  jax.tree.map(np.testing.assert_array_equal, variables["params"], network.params)
  assert "a file there" in refused("export", *arguments)
  elsewhere = (*arguments[:2], f"--out={tmp_path / 'b.onnx'}")
  assert "one of jax, kdmri" in refused("export", *elsewhere, "--format=tf")
  message = refused("export", *elsewhere, "--format=onnx", "--size=24")
  assert "--size: found '24'; expected rows and columns, such as the run's 24,20" in (
    message
  )
  message = refused("export", *elsewhere, "--format=kdmri")
  assert "--format: found kdmri for b.onnx; expected onnx, or a file with" in message
  assert not (tmp_path / "b.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jax", "onnx"])
def test_an_exported_network_reconstructs_as_the_script_does(workdir, tmp_path, form):
  from kdmri_jax.inference import load

  mask = load.load(workdir, "kd", (24, 20)).acquisition.masks[0]
  images = np.random.default_rng(0).random((3, 24, 20)) * 500
  kspace = (np.fft.fft2(images, norm="ortho") * mask).astype(np.complex64)
  with h5py.File(tmp_path / "measured.h5", "w") as file:
    file["kspace"] = kspace
  expected = run_file(workdir, "kd", tmp_path / "measured.h5")
  path = tmp_path / f"exported.{form}"
  done = run("export", f"--workdir={workdir}", "--stage=kd", f"--out={path}")
  assert done.returncode == 0, done.stderr
  assert "mask uint8 [24, 20]" in done.stdout
  if form == "jax":
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    found = np.asarray(exported.call(kspace, mask))[..., 0]
  else:
    session = onnxruntime.InferenceSession(path)
    parts = np.stack([kspace.real, kspace.imag], axis=1)
    found = session.run(None, {"kspace": parts, "mask": mask})[0][:, 0]
  expected = expected["reconstruction"]
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_an_output_folder_that_is_not_there_is_noticed_first(tmp_path):
  out = tmp_path / "gone" / "out.h5"
  arguments = (f"--workdir={tmp_path}", f"--input={tmp_path / 'none.h5'}")
  message = refused("reconstruct", *arguments, f"--out={out}")
  assert f"{out}: found no folder {out.parent}; expected" in message
  assert "Create this folder, then start the same command again." in message
  (tmp_path / "gone").write_text("a file")
  message = refused("reconstruct", *arguments, f"--out={out}")
  assert f"{out}: found a file {out.parent} in the place of a folder" in message


@pytest.mark.slow
def test_evaluate_the_results_of_a_run(workdir):
  done = run(
    "evaluate",
    f"--target={workdir / 'targets'}",
    f"--prediction=kd={workdir / 'seed_42' / 'kd' / 'results'}",
  )
  assert done.returncode == 0, done.stderr
  report = json.loads((workdir / "report" / "report.json").read_text())
  mean = next(row["psnr"]["mean"] for row in report["rows"] if row["model"] == "kd")
  assert f"{mean:.2f}" in done.stdout


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--config.data.source=nifti", "--config.data.root=/nowhere"), "no such folder"),
    (("--config.mask.kind=file", "--config.mask.path=no.npy"), "no.npy"),
    (("--config.batch_size=3", "--config.devices=2"), "does not divide|divides evenly"),
    (
      ("--config.evaluation.metrics=('psrn',)",),
      "config.evaluation.metrics: found 'psrn'",
    ),
    (("--config.evaluation.rois=no.csv",), "no.csv: found a file that cannot be read"),
    (("--config.data.crop=(24,6)",), "slices of 24x6 pixels; expected at least 7x7"),
    (
      ("--config.data.crop=(24,8)", "--config.evaluation.rois=auto"),
      "config.evaluation.rois=auto: found 0 in the targets",
    ),
    (("--stages=kd",), "no finished stage 'teacher'"),
    (("--stages=tutor",), "--stages: found 'tutor'"),
    (("--stages=",), "--stages: found none; expected some of teacher, student"),
  ],
)
def test_bad_input_is_one_paragraph_and_writes_nothing(tmp_path, arguments, message):
  text = refused("run", *TINY, f"--workdir={tmp_path / 'run'}", *arguments)
  assert re.search(message, text)
  assert not list(tmp_path.glob("run/*.json"))


def test_a_report_that_cannot_be_written_is_refused_before_training(tmp_path):
  (tmp_path / "report").write_text("a file")
  text = refused("run", *TINY, f"--workdir={tmp_path}")
  assert f"{tmp_path / 'report'}: found a file; expected a folder" in text
  assert not list(tmp_path.glob("seed_*"))


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--config.epoch=3", "--config.epoch=3: found no setting 'epoch'"),
    ("--config.stages.kd.lr=3", "--config.stages.kd.lr=3: found no setting 'lr'"),
    ("--config.stages.kd.optimiser_settings.b2=0.5",
     "Write --config.stages.kd.optimiser_settings=\"{'b2': 0.5}\"."),
    ("--config=experiments/none.py", "experiments/none.py: found no such file"),
    ("--config=dmo", "--config: found no such experiment 'dmo'; expected"),
    ("--config=", "--config: found no such experiment ''; expected"),
    ("--workdir=", "--workdir: found no folder"),
    ("--config=experiments/methods.py:foo",
     "methods.py:foo: found ValueError: 'foo' is no setting of a study; the settings "
     "are acdc, acdc_small, base, brain_4x"),
    ("--devices=2", "Unknown command line flag 'devices'"),
    ("more", "found the argument 'more'"),
  ],
)  # fmt: skip
def test_a_mistyped_command_line_is_one_paragraph(tmp_path, argument, message):
  assert message in refused("run", *TINY, f"--workdir={tmp_path}", argument)
  assert os.listdir(tmp_path) == []


def test_missing_flags_are_named():
  text = refused("run")
  assert "command line: found no --config and no --workdir; expected a value" in text


@pytest.mark.parametrize(
  ("line", "error"),
  [
    ("return undefined", "NameError"),
    ("raise ValueError", "ValueError"),
    ("return __import__('importlib').import_module('gone')", "ModuleNotFoundError"),
    ("return )", "SyntaxError"),
  ],
)
def test_a_config_file_with_a_mistake_is_named(tmp_path, line, error):
  path = tmp_path / "mine.py"
  path.write_text(f"def get_config():\n  {line}\n")
  text = refused("run", f"--config={path}", f"--workdir={tmp_path / 'run'}")
  assert f"--config={path}: found {error}" in text
  assert f"{path}, line 2" in text
