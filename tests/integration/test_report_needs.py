"""What a report needs is checked before training, and what fails after it is told."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers import commands
from helpers.tiny import make, tiny_config, train

import kdmri_jax as kd
from kdmri_jax.errors import UserError
from kdmri_jax.report import checks, results, write_reports

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = {"acceleration": 2.0, "centre_lines": 2}


def small(size, **changes):
  """The tiny experiment on images of another size."""
  config = tiny_config(epochs=1, devices=1)
  config.data.phantom.size = size
  config.mask.update(SMALL)
  config.evaluation.update(changes)
  return config


@pytest.mark.parametrize(
  ("size", "crop", "metrics"),
  [
    ((6, 6), "(7,7)", ("psnr", "ssim", "mse")),
    ((6, 20), "(7,20)", ("ssim", "psnr")),
    ((20, 4), "(20,7)", ("ssim",)),
  ],
)
def test_images_below_a_window_are_refused_before_anything_is_written(
  tmp_path, size, crop, metrics
):
  workdir = tmp_path / "run"
  with pytest.raises(UserError) as caught:
    kd.train(small(size, metrics=metrics), workdir)
  text = str(caught.value)
  shape = f"{size[0]}x{size[1]}"
  assert f"found slices of {shape} pixels; expected at least 7x7" in text
  assert "the window of SSIM" in text and f"--config.data.crop={crop}" in text
  rest = tuple(name for name in metrics if name != "ssim")
  names = ",".join(map(repr, rest)) + "," * (len(rest) == 1)
  assert (f"--config.evaluation.metrics=({names})" in text) == bool(rest)
  assert not workdir.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
  ("size", "changes"),
  [
    ((7, 7), {}),
    ((4, 9), {"metrics": ("psnr", "nmse", "hfn", "hfen")}),
    ((6, 6), {"crop": (7, 8)}),
  ],
)
def test_the_smallest_images_train_to_their_report(tmp_path, size, changes):
  config = small(size, **{k: v for k, v in changes.items() if k == "metrics"})
  config.data.crop = changes.get("crop", (0, 0))
  (report,) = kd.train(config, tmp_path / "run")
  assert not report.failed and report.path.is_file()
  assert report.path.with_name("figures").joinpath("comparison.png").is_file()


def test_metrics_are_tried_before_training(tmp_path):
  metrics = ("psnr", "helpers.failing:ALWAYS")
  with pytest.raises(UserError) as caught:
    kd.train(small((12, 10), metrics=metrics), tmp_path / "run")
  text = str(caught.value)
  assert text.startswith("config.evaluation.metrics: found helpers.failing:ALWAYS")
  assert "KeyError: 'never'" in text
  assert not (tmp_path / "run").exists()


def test_regions_are_found_before_training(tmp_path):
  with pytest.raises(UserError) as caught:
    kd.train(small((8, 8), rois="auto"), tmp_path / "run")
  assert "config.evaluation.rois=auto: found 0 in the targets" in str(caught.value)
  assert "--config.evaluation.rois=" in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_a_volume_without_signal_is_refused_before_training(tmp_path):
  subject = np.array([1, 2, 3, 4])
  image = (subject < 4)[:, None, None] * np.random.default_rng(0).random((4, 12, 10))
  np.savez(tmp_path / "heads.npz", image=image, subject=subject)
  config = small((12, 10))
  config.data.update(source="npz", root=str(tmp_path), validation=("4",))
  with pytest.raises(UserError, match=r"signal|zero"):
    kd.train(config, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_room_for_the_results_is_checked_before_training(tmp_path, monkeypatch):
  pipeline = make(tmp_path / "run")
  images = 2 + len(pipeline.config.evaluation.models)
  sizes = [np.prod(v.target.shape) for v in pipeline.dataset.test.volumes]
  needed = 4 * images * int(sum(sizes))
  usage = shutil.disk_usage(tmp_path)
  for free in (needed, needed - 1):
    found = usage._replace(free=free)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _, found=found: found)
    if free == needed:
      checks.check(pipeline)
  with pytest.raises(UserError, match="for the reconstructions alone"):
    checks.check(pipeline)
  assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A finished run without its report."""
  pipeline = make(tmp_path_factory.mktemp("run"), epochs=1, devices=1)
  return train(pipeline)[0]


def evaluated(pipeline, **changes):
  """The experiment with other settings of its evaluation."""
  evaluation = dataclasses.replace(pipeline.config.evaluation, **changes)
  other = pipeline.for_seed(pipeline.seed)
  other.config = dataclasses.replace(pipeline.config, evaluation=evaluation)
  return other


def read(report):
  """Its report.json."""
  return json.loads(report.path.with_name("report.json").read_text())


@pytest.mark.slow
class TestAfterTraining:
  def test_a_metric_that_fails_is_told_and_all_else_is_written(self, trained):
    metrics = ("psnr", "ssim", "nmse")
    (whole,) = write_reports.write_reports([evaluated(trained, metrics=metrics)])
    expected = read(whole)
    own = ("helpers.failing:SINGLE", *metrics)  # the first one ranks
    (broken,) = write_reports.write_reports([evaluated(trained, metrics=own)])
    found = read(broken)
    assert not whole.failed and len(broken.failed) == 1
    assert "RuntimeError: one slice, please" in str(broken)
    for key in ("answer", "paired", "leading", "cautions"):
      assert found[key] == expected[key]
    for row, other in zip(expected["rows"], found["rows"], strict=True):
      assert row == {key: other[key] for key in row}
      assert other["SINGLE"]["mean"] is None

  def test_a_network_that_fails_is_left_out(self, trained, monkeypatch):
    predict = results.make_predict

    def failing(model, *arguments):
      if model is trained.models["teacher"]:
        raise MemoryError("9 TB")
      return predict(model, *arguments)

    monkeypatch.setattr(results, "make_predict", failing)
    (report,) = write_reports.write_reports([evaluated(trained)])
    (failure,) = report.failed
    assert failure.part == "teacher with seed 42"
    assert failure.reason == "MemoryError: 9 TB"
    assert [row["model"] for row in read(report)["rows"]] == [
      "zero_filled", "student", "kd"
    ]  # fmt: skip

  def test_without_any_network_the_error_says_why(self, trained, monkeypatch):
    def failing(*arguments):
      raise RuntimeError("no device")

    monkeypatch.setattr(results, "make_predict", failing)
    with pytest.raises(UserError, match=r"no network .*no device"):
      write_reports.write_reports([evaluated(trained)])

  def test_one_region_for_each_subject(self, trained, tmp_path):
    lines = ["volume,slice,row,column,height,width"]
    volumes = trained.dataset.test.volumes
    lines += [f"{volume.name},1,9,8,4,4" for volume in volumes]
    path = tmp_path / "rois.csv"
    path.write_text("\n".join(lines))
    (report,) = write_reports.write_reports([evaluated(trained, rois=str(path))])
    assert not report.failed
    found = read(report)["snr"]
    assert {effect["levels"] for effect in found["effects"]} == {"subject"}
    assert "SNR ~ network + (1 | subject)" in report.path.read_text()

  def test_regions_that_vanished_after_the_check(self, trained, tmp_path):
    rois = str(tmp_path / "none.csv")
    (report,) = write_reports.write_reports([evaluated(trained, rois=rois)])
    (failure,) = report.failed
    assert failure.section == "Signal and noise" and "none.csv" in failure.reason
    assert "Signal and noise" in report.path.read_text()

  def test_the_command_says_so_in_its_status(self, trained, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
      "from helpers.tiny import tiny_config\n"
      "def get_config():\n"
      "  metrics = ('psnr', 'helpers.failing:SINGLE')\n"
      "  config = tiny_config(epochs=1, devices=1)\n"
      "  config.evaluation.metrics = metrics\n"
      "  return config\n"
    )
    done = commands.run("run", f"--config={file}", f"--workdir={trained.workdir.path}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the metric Single (all or some of its values) is missing" in done.stdout
    assert "report/index.html: found parts that failed" in done.stderr
    assert (trained.workdir.path / "report" / "index.html").is_file()
