"""The whole pipeline on tiny phantoms: what a finished run leaves, what it refuses."""

import dataclasses
import json
import math

import h5py
import jax
import numpy as np
import pytest
from helpers.data_files import images, save_h5
from helpers.event_files import steps
from helpers.sweep import sweep_config
from helpers.tiny import make, run_file, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError
from kdmri_jax.physics.masks import recipes
from kdmri_jax.report import write_reports
from kdmri_jax.training import log
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.workdir import WorkDir

pytestmark = pytest.mark.usefixtures("quick_compilation")


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A finished run, with its report."""
  pipeline = make(tmp_path_factory.mktemp("run"), watch={"image_every": 10})
  train(pipeline)
  return pipeline, write_reports.write_reports([pipeline])[0]


class TestFinishedRun:
  def test_every_stage_has_checkpoint_log_and_tensorboard(self, finished):
    pipeline, _ = finished
    for name in ("teacher", "student", "feature", "kd"):
      folder = pipeline.workdir.stage(name)
      assert pipeline.is_finished(name)
      assert list((folder / "tensorboard").glob("events*"))
      lines = log.read(folder / "metrics.jsonl")
      assert [line["epoch"] for line in lines] == [1, 2]
      assert all(math.isfinite(v) for v in lines[0]["train"].values())
      assert {"mse", "l1", "psnr", "loss"} <= set(lines[0]["validation"])
    assert set(lines[0]["train"]) >= {"reconstruction", "imitation", "loss"}

  def test_tensorboard_has_curves_and_images(self, finished):
    pipeline, _ = finished
    folder = pipeline.workdir.stage("kd") / "tensorboard"
    found = steps(folder)
    assert found["training/imitation"] == found["validation/PSNR in dB"] == [5, 10]
    assert found["validation slice"] == [10]

  def test_results_have_the_layout_users_expect(self, finished):
    pipeline, _ = finished
    volumes = pipeline.dataset.test.volumes
    for name in ("zero_filled", "teacher", "student", "kd"):
      for volume in volumes:
        with h5py.File(pipeline.workdir.results(name) / f"{volume.name}.h5") as file:
          assert file["reconstruction"].shape == volume.target.shape
          assert file["reconstruction"].dtype == np.float32

  def test_report_json(self, finished):
    pipeline, report = finished
    content = json.loads(report.path.with_name("report.json").read_text())
    assert content["protocol"] == "kdmri"
    assert content["dataset"]["subjects"] == pipeline.dataset.record["subjects"]
    rows = {row["model"]: row for row in content["rows"]}
    assert list(rows) == ["zero_filled", "teacher", "student", "kd"]
    assert rows["kd"]["parameters"] == rows["student"]["parameters"]
    assert set(rows["kd"]["psnr"]) >= {"mean", "sd", "n"}
    pairs = {(p["a"], p["b"], p["metric"]): p for p in content["paired"]}
    pair = pairs["kd", "student", "psnr"]
    low, high = pair["ci95"]
    assert low <= pair["mean_difference"] <= high
    assert {"wilcoxon_p", "gap_closed"} <= set(pair)
    assert pair["mean_difference"] == pytest.approx(
      _per_slice_mean(report, "kd") - _per_slice_mean(report, "student"), abs=1e-6
    )
    assert any("kd have been trained for 4 epochs" in c for c in content["cautions"])
    folder = report.path.parent
    figures = {"comparison", "learning_curves", "attention_maps", "differences", "mask"}
    assert {p.stem for p in (folder / "figures").glob("*.png")} == figures
    assert "kd" in (folder / "report.md").read_text()

  def test_the_same_command_again_changes_nothing(self, finished):
    pipeline, _ = finished
    before = _checkpoint_times(pipeline)
    train(make(pipeline.workdir.path))
    assert _checkpoint_times(pipeline) == before

  def test_the_kd_student_starts_from_the_feature_stage(self, finished):
    pipeline, _ = finished
    start = pipeline.start_params("kd")
    assert_equal(start, pipeline.best("feature"))

  def test_stages_of_the_same_network_start_from_the_same_weights(self, finished):
    pipeline, _ = finished
    student, feature = map(pipeline.initial_params, ("student", "feature"))
    assert_equal(student, feature)

  def test_another_config_is_refused(self, finished):
    pipeline, _ = finished
    other = make(pipeline.workdir.path, batch_size=2)
    with pytest.raises(UserError, match="batch_size: 4 there, 2 here"):
      train(other)
    assert (
      json.loads((pipeline.workdir.path / "config.json").read_text())["batch_size"] == 4
    )

  def test_other_data_is_refused(self, finished):
    pipeline, _ = finished
    config = tiny_config()
    other = Experiment(config_lib.parse(config), pipeline.workdir.path)
    other.dataset.record["subjects"]["train"].append("someone_else")
    with pytest.raises(UserError, match=r"dataset\.json.*other data"):
      train(other)

  def test_another_mask_of_the_same_name_is_refused(self, finished):
    pipeline, _ = finished
    other = make(pipeline.workdir.path)
    other.dataset.acquisitions[24, 20].masks[0, ::2] = 1
    with pytest.raises(UserError, match=r"dataset\.json.*other data.*mask_digest"):
      train(other)

  def test_the_word_for_a_subject_may_change(self, finished):
    pipeline, _ = finished
    other = make(pipeline.workdir.path)
    other.dataset.record.update(unit="file", split_rule="Drawn.")
    other.claim(other.config.pipeline)
    pipeline.claim(pipeline.config.pipeline)

  def test_a_transposed_mask_is_refused_for_a_file_of_images(self, finished, tmp_path):
    """K-space tells by itself along which axis it was sampled."""
    workdir = finished[0].workdir.path
    target = images(0, (2, 20, 20))
    mask = recipes.cartesian((20, 20), 3, 4, axis=1, seed=0)
    np.save(tmp_path / "mask.npy", mask)
    options = {"mask_path": str(tmp_path / "mask.npy"), "batch_size": 2}
    save_h5(tmp_path / "a.h5", target=target)
    with pytest.raises(UserError, match=r"mask.npy: found phase-encode axis 1"):
      run_file(workdir, "kd", tmp_path / "a.h5", **options)
    save_h5(tmp_path / "b.h5", kspace=mask * np.fft.fft2(target, norm="ortho"))
    found = run_file(workdir, "kd", tmp_path / "b.h5", **options)
    assert np.isfinite(found["reconstruction"]).all()

  @pytest.mark.parametrize("part", ["target", "kspace", "zero_filled"])
  def test_other_images_of_the_same_names_are_refused(self, finished, tmp_path, part):
    """Also where the data bring their own k-space, and only the target changed."""
    pipeline = finished[0].for_seed(42)
    pipeline.workdir = WorkDir(tmp_path, 42)
    first, *others = pipeline.dataset.train.volumes
    first = dataclasses.replace(
      first, kspace=np.fft.fft2(first.target), zero_filled=2 * first.target
    )

    def use(volume):
      volume = dataclasses.replace(volume, digests={}).with_digests()
      train_set = dataclasses.replace(pipeline.dataset.train, volumes=(volume, *others))
      pipeline.dataset = dataclasses.replace(pipeline.dataset, train=train_set)

    use(first)
    pipeline.claim(["teacher"])
    use(dataclasses.replace(first, **{part: getattr(first, part) + 1e-3}))
    with pytest.raises(UserError, match=r"dataset\.json.*train_digest: .* there"):
      pipeline.claim(["teacher"])

  def test_runtime_settings_may_change(self, finished):
    pipeline, _ = finished
    train(make(pipeline.workdir.path, devices=1, name="renamed"))


def _per_slice_mean(report, model):
  slices = json.loads(report.path.with_name("slices.json").read_text())
  chosen = [
    s["psnr"] for s in slices if s["model"] == model and s["protocol"] == "kdmri"
  ]
  return np.mean(chosen)


def _checkpoint_times(pipeline):
  paths = sorted(pipeline.workdir.stage("").glob("*/checkpoints/*"))
  return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.slow
def test_the_reference_protocol_on_complex_images(tmp_path):
  config = tiny_config("reference")
  config.data.phantom.phase = True
  for model in config.models.values():
    model.channels = 2
  pipeline = Experiment(config_lib.parse(config), tmp_path)
  train(pipeline)
  report = write_reports.write_reports([pipeline])[0]
  rows = json.loads(report.path.with_name("report.json").read_text())["rows"]
  assert [row["model"] for row in rows] == ["zero_filled", "teacher", "student", "kd"]
  volume = pipeline.dataset.test.volumes[0]
  with h5py.File(pipeline.workdir.results("zero_filled") / f"{volume.name}.h5") as file:
    written = file["reconstruction"][()]
  kspace = (
    np.fft.fft2(volume.target, norm="ortho")
    * pipeline.dataset.acquisitions[24, 20].masks[0]
  )
  expected = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  np.testing.assert_allclose(written, expected, atol=1e-6)


def test_data_may_move_but_not_change(tmp_path):
  def claim(root, scale=1.0, **mask):
    config = tiny_config()
    config.data.update(source="prepared", root=root)
    config.mask.update(kind="file", path=f"{root}/mask.npy", **mask)
    volume = {"name": "a", "file": f"{root}/a.h5", "scale_factor": scale}
    volume["prepared_from"] = {"file": f"{root}/raw/a.nii"}
    record = {"root": root, "complex_file": f"{root}/a.h5", "volumes": [volume]}
    WorkDir(tmp_path, 42).claim(config_lib.parse(config), record, write=True)

  claim("/old")
  claim("/new")
  for name in ("config.json", "dataset.json"):
    text = (tmp_path / name).read_text()
    assert "/new" in text and "/old" not in text
  with pytest.raises(
    UserError, match=r"volumes\.0\.scale_factor: 1\.0 there, 2\.0 here;"
  ):
    claim("/new", scale=2.0)
  with pytest.raises(UserError, match=r"mask\.axis: 0 there, 1 here;"):
    claim("/new", axis=1)


@pytest.mark.slow
def test_a_cache_that_does_not_fit_changes_nothing(finished, tmp_path):
  pipeline, _ = finished
  uncached = make(tmp_path, teacher_cache_mb=0)
  train(uncached)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
    pipeline.best("kd"),
    uncached.best("kd"),
  )


@pytest.mark.slow
def test_nor_does_it_with_rounded_hints(tmp_path):
  def trained(memory):
    config = sweep_config()
    config.update(teacher_cache_type="float16", teacher_cache_mb=memory)
    pipeline = Experiment(config_lib.parse(config), tmp_path / str(memory))
    train(pipeline)
    return pipeline.best("kd")

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), trained(0), trained(4096)
  )
