"""A run that stands on another: given stages, checkpoint files and outputs."""

import json
import shutil

import h5py
import jax
import numpy as np
import pytest
from helpers.sweep import again, make, refused, sweep_config, three_runs
from helpers.tiny import (
  assert_same_end,
  final,
  stop_in_dispatch,
  train,
  write_outputs,
)

from kdmri_jax import interop
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.inference import load
from kdmri_jax.report import write_reports

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
  return three_runs(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def file(sweep, tmp_path_factory):
  """The sweep's teacher as the published code writes it."""
  run, path = again(sweep[0]), tmp_path_factory.mktemp("published") / "teacher.pt"
  interop.save_kdmri_checkpoint(path, run.models["teacher"], run.best("teacher"))
  return path


@pytest.fixture(scope="module")
def outputs(sweep, tmp_path_factory):
  """The images of the sweep's teacher for all volumes."""
  run, folder = again(sweep[0]), tmp_path_factory.mktemp("outputs")
  write_outputs(run, "teacher", folder)
  return folder


class TestSweep:
  def test_the_teacher_is_trained_once(self, sweep):
    folder, trained = sweep
    assert trained == ["teacher", "kd", "kd", "kd"]
    first = make(folder / "alpha25", alpha=0.25).best("teacher")
    for alpha in (0.5, 0.75):
      run = again(folder, alpha)
      assert_equal(run.best("teacher"), first)
      assert not (run.workdir.stage("teacher") / "checkpoints").exists()

  def test_the_student_is_that_of_a_run_which_trains_the_teacher(self, sweep, tmp_path):
    train(make(tmp_path))
    assert_same_end(final(tmp_path, "kd"), final(sweep[0] / "alpha50", "kd"))

  def test_a_killed_run_ends_the_same(self, sweep, tmp_path, monkeypatch):
    folder, _ = sweep
    given = folder / "alpha25" / "teacher"
    with monkeypatch.context() as patch:
      stop_in_dispatch(patch, 2)
      with pytest.raises(Interrupted):
        train(make(tmp_path, given=given))
    train(make(tmp_path, given=given))
    assert_same_end(final(tmp_path, "kd"), final(folder / "alpha50", "kd"))

  def test_the_report_says_that_it_is_given(self, sweep):
    (report,) = write_reports.write_reports([again(sweep[0])])
    content = json.loads(report.path.with_name("report.json").read_text())
    rows = {row["model"]: row for row in content["rows"]}
    assert rows["teacher"]["given"] and not rows["kd"]["given"]
    assert rows["teacher"]["parameters"] > rows["kd"]["parameters"]
    line = next(x for x in report.table.splitlines() if x.startswith("teacher"))
    assert "given" in line
    text = report.path.with_name("report.md").read_text()
    origin = f"{sweep[0]}/alpha25/teacher, seed 42 (digest "
    assert f"given: {origin}" in text.replace("\\", "")
    assert "is given by" not in text  # the settings are the same

  def test_given_weights_are_loaded(self, sweep):
    folder, _ = sweep
    a, b = (
      load.load(folder / f"alpha{alpha}", "teacher", (24, 20)) for alpha in (25, 50)
    )
    assert_equal(a.params, b.params)

  def test_the_runs_may_move(self, sweep, tmp_path):
    for alpha in (25, 50):
      shutil.copytree(sweep[0] / f"alpha{alpha}", tmp_path / f"alpha{alpha}")
    moved = again(tmp_path)
    moved.claim(["kd"])
    assert moved.is_finished("kd")

  def test_a_given_stage_and_a_trained_one_do_not_mix(self, sweep):
    folder, _ = sweep
    with pytest.raises(UserError, match=r"given\.json: found a stage that was given"):
      make(folder / "alpha50").claim(["teacher", "kd"])
    given = folder / "alpha50" / "teacher"
    with pytest.raises(UserError, match="trained here and shall now be given"):
      run = make(folder / "alpha25", alpha=0.25, given=given)
      run.claim(["kd"])

  def test_a_given_stage_may_itself_be_given(self, sweep, tmp_path):
    folder, _ = sweep
    run = make(tmp_path, given=folder / "alpha50" / "teacher")
    assert_equal(run.best("teacher"), again(folder).best("teacher"))

  def test_a_stage_starts_from_a_given_one(self, sweep, tmp_path):
    folder, _ = sweep
    config = sweep_config(given=folder / "alpha25" / "teacher")
    config.pipeline = ("teacher", "student", "kd")
    config.stages.student.given = str(folder / "alpha75" / "kd")
    config.stages.kd.start_from = "student"
    run = make(tmp_path, config)
    assert_equal(run.start_params("kd"), again(folder, 0.75).best("kd"))


class TestSeeds:
  def test_the_only_seed_stands_for_all_others(self, sweep, tmp_path):
    config = sweep_config(given=sweep[0] / "alpha25" / "teacher")
    config.seed = 7
    run = make(tmp_path, config)
    assert run.origin("teacher").text.endswith("alpha25/teacher, seed 42")
    assert_equal(run.best("teacher"), again(sweep[0]).best("teacher"))

  def test_of_several_seeds_one_is_chosen(self, sweep, tmp_path):
    other = tmp_path / "other"
    config = sweep_config()
    config.update(seed=1, seeds=2)
    train(make(other, config), ["teacher"])
    config = sweep_config(given=other / "teacher")
    found = refused("not finished with seed 42; finished seeds: 1, 2", config, tmp_path)
    assert f"config.stages.teacher.given={other}/seed_1/teacher" in found
    config.seed = 2
    assert make(tmp_path, config).origin("teacher").text.endswith("seed 2")
    config = sweep_config(given=other / "seed_1" / "teacher")
    assert make(tmp_path, config).origin("teacher").text.endswith("seed 1")


class TestFiles:
  def test_it_teaches_as_the_run_does(self, sweep, file, tmp_path):
    (run,) = train(make(tmp_path, given=file))
    assert_same_end(final(tmp_path, "kd"), final(sweep[0] / "alpha50", "kd"))
    assert run.origin("teacher").digests == again(sweep[0]).origin("teacher").digests
    (report,) = write_reports.write_reports([run])
    content = json.loads(report.path.with_name("report.json").read_text())
    caution = f"not known which subjects the stage teacher, given by {file}, was"
    assert any(caution in each for each in content["cautions"])

  def test_another_network_is_refused_by_its_differences(self, file, tmp_path):
    config = sweep_config(given=file)
    config.models.teacher.update(convolutions=4, lam=3.0)
    found = refused("another network", config, tmp_path)
    assert "convolutions: 5 there, 4 here" in found and "lam: 'inf' there" in found

  def test_a_run_s_stage_of_another_network(self, sweep, tmp_path):
    config = sweep_config(given=sweep[0] / "alpha25" / "kd")
    refused("another network.*convolutions: 3 there, 5 here", config, tmp_path)

  @pytest.mark.parametrize(
    ("given", "message"),
    [
      ("nowhere/teacher", "no weights and no images; expected a stage of another run"),
      ("none.pt", "none.pt"),
    ],
  )
  def test_what_is_nowhere(self, tmp_path, given, message):
    refused(message, sweep_config(given=tmp_path / given), tmp_path / "new")

  def test_an_unknown_stage_and_a_stage_of_this_run(self, sweep, tmp_path):
    config = sweep_config(given=sweep[0] / "alpha25" / "tutor")
    refused("no such stage; expected a stage out of", config, tmp_path)
    config = sweep_config(given=tmp_path / "teacher")
    refused("of this run itself", config, tmp_path)


class TestOutputs:
  def test_they_teach_and_are_evaluated(self, sweep, outputs, tmp_path):
    (run,) = train(make(tmp_path, given=outputs))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      run.best("kd"),
      again(sweep[0]).best("kd"),
    )
    (report,) = write_reports.write_reports([run])
    (other,) = write_reports.write_reports([again(sweep[0])])
    rows = [
      {row["model"]: row for row in json.loads(text)["rows"]}
      for text in (r.path.with_name("report.json").read_text() for r in (report, other))
    ]
    assert rows[0]["teacher"]["parameters"] is None
    expected = rows[1]["teacher"]["psnr"]["mean"]
    assert rows[0]["teacher"]["psnr"]["mean"] == pytest.approx(expected, abs=1e-3)
    line = next(x for x in report.table.splitlines() if x.startswith("teacher"))
    assert line.split()[1] == "given"
    with pytest.raises(UserError, match="a folder of outputs"):
      load.load(tmp_path, "teacher", (24, 20))

  def test_they_may_be_taught_step_by_step(self, sweep, outputs, tmp_path):
    config = sweep_config(given=outputs)
    config.teacher_cache_mb = 0
    (run,) = train(make(tmp_path, config))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      run.best("kd"),
      again(sweep[0]).best("kd"),
    )

  def test_images_in_the_units_of_the_file_are_scaled(self, sweep, outputs, tmp_path):
    run = make(tmp_path, given=outputs)
    volume = run.dataset.train.volumes[0]
    path = outputs / f"{volume.name}.h5"
    expected = run.given["teacher"].images(volume, 1)
    text = path.read_bytes()
    volume.record["scale_factor"] = 4.0
    with h5py.File(path, "a") as file:
      file["reconstruction"][...] *= 4
      file.attrs["units"] = "file"
    found = run.given["teacher"].images(volume, 1)
    path.write_bytes(text)
    np.testing.assert_allclose(found, expected, rtol=1e-6)

  def test_what_is_not_in_images_is_refused(self, outputs, tmp_path):
    config = sweep_config(given=outputs)
    config.pipeline = ("teacher", "feature", "kd")
    refused(r"terms\.attention\.hint: .*outputs are given", config, tmp_path)
    config = sweep_config(given=outputs)
    config.augment.flips = True
    refused("training slices that differ from step to step", config, tmp_path)
    config = sweep_config(given=outputs)
    config.pipeline = ("teacher", "student", "kd")
    config.stages.student.given = str(outputs)
    config.stages.kd.start_from = "student"
    refused(r"kd\.start_from: .*of which outputs are given", config, tmp_path)

  def test_every_volume_is_needed_in_its_shape(self, outputs, tmp_path):
    folder = tmp_path / "some"
    shutil.copytree(outputs, folder)
    config = sweep_config(given=folder)
    first, *_ = sorted(folder.iterdir())
    with h5py.File(first, "w") as file:
      file["reconstruction"] = np.ones((3, 24, 22), np.float32)
    refused(r"shape \(3, 24, 22\); expected \(3, 24, 20\)", config, tmp_path / "a")
    first.unlink()
    refused(f"without {first.name}; expected an output for", config, tmp_path / "b")

  def test_outputs_of_other_volumes_are_left_out_of_the_results(
    self, outputs, tmp_path
  ):
    folder = tmp_path / "some"
    shutil.copytree(outputs, folder)
    config = sweep_config(given=folder)
    train_set = make(tmp_path / "x", config).dataset.record["subjects"]["train"]
    config.data.test, config.data.validation = train_set[:1], train_set[1:2]
    (folder / f"{train_set[0]}.h5").unlink()
    (run,) = train(make(tmp_path / "run", config))
    (report,) = write_reports.write_reports([run])
    content = json.loads(report.path.with_name("report.json").read_text())
    assert "teacher" not in [row["model"] for row in content["rows"]]
    assert any("do not cover the evaluated" in each for each in content["cautions"])
