"""A run that stands on another: given stages, their records, and what is refused."""

import json
import os
import shutil
import signal

import h5py
import jax
import numpy as np
import pytest
from helpers.tiny import (
  assert_same_end,
  edited,
  final,
  tiny_config,
  train,
  write_outputs,
)

from kdmri_jax import config as config_lib
from kdmri_jax import interop
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.inference import load
from kdmri_jax.report import write_reports
from kdmri_jax.training import stage_loop
from kdmri_jax.training.experiment import Experiment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


def sweep_config(alpha=0.5, given=""):
  """A teacher and a student that imitates it; `alpha` weighs the reconstruction."""
  config = tiny_config(epochs=1, devices=1)
  config.pipeline = ("teacher", "kd")
  config.data.phantom.subjects = 6
  config.evaluation.models = ("teacher", "kd")
  config.stages.kd.start_from = ""
  config.stages.kd.terms.reconstruction.weight = alpha
  config.stages.kd.terms.imitation.weight = 1 - alpha
  config.stages.teacher.given = str(given)
  return config


def make(path, config=None, **options):
  """The experiment of `sweep_config(**options)`, or of another config."""
  return Experiment(config_lib.parse(config or sweep_config(**options)), path)


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
  """Three runs, of which the first trains the teacher; how often each stage trained."""
  folder, trained = tmp_path_factory.mktemp("runs"), []
  run = stage_loop.train

  def counting(experiment, name, signal):
    trained.append(name)
    run(experiment, name, signal)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(stage_loop, "train", counting)
    train(make(folder / "alpha25", alpha=0.25))
    for alpha in (50, 75):
      given = folder / "alpha25" / "teacher"
      train(make(folder / f"alpha{alpha}", alpha=alpha / 100, given=given))
  return folder, trained


def again(folder, alpha=0.5):
  """One of the runs that stand on the first."""
  given = folder / "alpha25" / "teacher"
  return make(folder / f"alpha{round(100 * alpha)}", alpha=alpha, given=given)


def refused(message, config, path):
  """Building or claiming the experiment raises an error that matches."""
  with pytest.raises(UserError, match=message) as caught:
    made = make(path, config)
    made.claim(made.config.pipeline)
  assert not (path / "config.json").exists()
  return str(caught.value)


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
    step, count = stage_loop._Loop._dispatch, 0

    def killing(*arguments):
      nonlocal count
      count += 1
      if count == 2:
        os.kill(os.getpid(), signal.SIGTERM)
      return step(*arguments)

    with monkeypatch.context() as patch:
      patch.setattr(stage_loop._Loop, "_dispatch", killing)
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


class TestRecords:
  def test_a_folder_of_another_run_is_refused(self, sweep, tmp_path):
    knee = sweep_config()
    knee.mask.acceleration = 5.0
    knee.data.phantom.family = "knee"
    train(make(tmp_path / "knee", knee), ["teacher"])
    brain = tmp_path / "brain"
    copied = tmp_path / "knee" / "seed_42" / "teacher"
    shutil.copytree(copied, brain / "seed_42" / "teacher")
    found = refused("was trained with other settings", sweep_config(), brain)
    assert "mask.acceleration: 5.0 there, 3.0 here" in found
    assert "data.train_digest: " in found
    assert "WORKDIR/STAGE" in found
    with pytest.raises(UserError, match="trained with other settings"):
      make(brain).best("teacher")

  def test_a_student_of_another_teacher_is_refused(self, sweep, tmp_path):
    """As after the teacher was trained anew."""
    run = tmp_path / "run"
    shutil.copytree(sweep[0] / "alpha25", run)
    path = run / "seed_42" / "kd" / "trained_with.json"
    with edited(path) as record:
      record["weights_of"]["teacher"] = "0123"
    message = r"weights_of\.teacher: '0123' there"
    with pytest.raises(UserError, match=message):
      make(run, alpha=0.25).claim(["kd"])
    with pytest.raises(UserError, match=message):
      load.load(run, "kd", (24, 20))
    with pytest.raises(UserError, match=message):
      write_reports.write_reports([make(run, alpha=0.25)])
    path.unlink()
    with pytest.raises(UserError, match=r"trained_with\.json: found no readable"):
      load.load(run, "kd", (24, 20))

  def test_weights_that_were_changed_are_refused(self, sweep, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(sweep[0] / "alpha25", run)
    (path,) = run.glob("seed_42/teacher/checkpoints/*/progress/metadata")
    with edited(path) as progress:
      progress["weights"]["best"] = "0123"
    with pytest.raises(UserError, match="best: another digest than that of the arrays"):
      load.load(run, "teacher", (24, 20))
    config = sweep_config(given=run / "teacher")
    with pytest.raises(UserError, match="another digest"):
      make(tmp_path / "other", config).best("teacher")

  def test_a_checkpoint_without_its_progress_is_refused(self, sweep, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(sweep[0] / "alpha25", run)
    (path,) = run.glob("seed_42/teacher/checkpoints/*/progress/metadata")
    with edited(path) as progress:
      del progress["finished"]
    with pytest.raises(UserError, match="its progress lacks finished"):
      make(run, alpha=0.25).progress("teacher")

  def test_another_teacher_is_refused_before_anything_is_written(self, sweep, tmp_path):
    """Also where the record of the given teacher is gone."""
    run = tmp_path / "run"
    shutil.copytree(sweep[0] / "alpha50", run)
    shutil.rmtree(run / "seed_42" / "teacher")
    config = sweep_config(alpha=0.5)
    config.seed = 7
    train(make(tmp_path / "other", config), ["teacher"])
    config = sweep_config(given=tmp_path / "other" / "teacher", alpha=0.5)
    files = sorted(run.rglob("*"))
    with pytest.raises(UserError, match=r"weights_of\.teacher"):
      make(run, config).claim(["kd"])
    assert sorted(run.rglob("*")) == files

  def test_a_given_teacher_may_not_change(self, sweep, tmp_path):
    for alpha in (25, 50):
      shutil.copytree(sweep[0] / f"alpha{alpha}", tmp_path / f"alpha{alpha}")
    path = tmp_path / "alpha50" / "seed_42" / "teacher" / "given.json"
    with edited(path) as record:
      record["digests"] = {"best": "0123"}
    with pytest.raises(UserError, match=r"found other weights.*best: '0123' there"):
      again(tmp_path).claim(["kd"])
    with pytest.raises(UserError, match=r"found other weights.*best: '0123' there"):
      load.load(tmp_path / "alpha50", "teacher", (24, 20))

  def test_a_work_directory_of_version_0_1_is_refused(self, sweep, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(sweep[0] / "alpha25", run)
    (run / "workdir.json").unlink()
    message = r"format 1, which kdmri_jax 0\.1 writes.*Use kdmri_jax 0\.1 to read it"
    with pytest.raises(UserError, match=message):
      make(run, alpha=0.25).claim(["kd"])
    with pytest.raises(UserError, match=message):
      load.load(run, "kd", (24, 20))
    refused(message, sweep_config(given=run / "teacher"), tmp_path / "new")


class TestLeaks:
  def test_training_subjects_that_are_evaluated_are_named(self, sweep, tmp_path):
    seen = make(tmp_path).dataset.record["subjects"]["train"]
    config = sweep_config(given=sweep[0] / "alpha25" / "teacher")
    config.data.validation, config.data.test = (seen[0],), (seen[1],)
    refused(f"which was trained on {seen[1]}: subjects that this run", config, tmp_path)
    config.data.test = ()
    refused(f"which was trained on {seen[0]}: subjects that", config, tmp_path)

  def test_the_same_images_under_other_names(self, sweep, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(sweep[0] / "alpha25", run)
    path = run / "dataset.json"
    with edited(path) as data:
      slices = data["training_slices"]
      name = sorted(slices)[0]
      slices["someone"] = slices.pop(name)
    config = sweep_config(given=run / "teacher")
    config.data.validation, config.data.test = (name,), ()
    refused(f"which was trained on {name}", config, tmp_path / "new")

  def test_phantoms_of_another_seed_are_others(self, sweep, tmp_path):
    config = sweep_config(given=sweep[0] / "alpha25" / "teacher")
    seen = make(tmp_path).dataset.record["subjects"]["train"]
    config.data.phantom.seed = 5
    config.data.validation = (seen[0],)
    config.mask.acceleration = 2.0
    (note,) = make(tmp_path, config).given_notes()
    assert "mask.acceleration: 3.0 there, 2.0 here" in note
    assert "other training images" in note and "another mask" in note

  def test_what_a_given_teacher_has_seen_counts_for_its_student(self, sweep, tmp_path):
    """The second run hides in its record whom it trains on, not its teacher's."""
    for alpha in (25, 50):
      shutil.copytree(sweep[0] / f"alpha{alpha}", tmp_path / f"alpha{alpha}")
    path = tmp_path / "alpha50" / "dataset.json"
    with edited(path) as data:
      name = sorted(data["training_slices"])[0]
      data["training_slices"] = {}
    config = sweep_config(given=sweep[0] / "alpha25" / "teacher")
    config.pipeline = ("teacher", "student", "kd")
    config.stages.student.given = str(tmp_path / "alpha50" / "kd")
    config.stages.teacher.given = ""
    config.data.validation = (name,)
    refused(rf"stages\.student\.given: .*trained on {name}", config, tmp_path / "new")


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
