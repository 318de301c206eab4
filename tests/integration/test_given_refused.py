"""Given stages that are refused: other records, leaks of the evaluated subjects."""

import shutil

import pytest
from helpers.sweep import again, make, refused, sweep_config, three_runs
from helpers.tiny import (
  edited,
  train,
)

from kdmri_jax.errors import UserError
from kdmri_jax.inference import load
from kdmri_jax.report import write_reports

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
  return three_runs(tmp_path_factory.getbasetemp())


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
