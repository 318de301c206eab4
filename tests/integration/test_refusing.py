"""What a run refuses before it trains: other stages, settings, folders in use."""

import math

import pytest
from helpers.tiny import make, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.errors import UserError
from kdmri_jax.report import checks
from kdmri_jax.training.experiment import Experiment

pytestmark = pytest.mark.usefixtures("quick_compilation")


class TestRefusing:
  def test_all_missing_stages_are_named_in_an_order_that_works(self, tmp_path):
    pipeline = make(tmp_path)
    with pytest.raises(UserError, match="stage 'teacher', 'feature' in") as caught:
      train(pipeline, ["kd", "student"])
    remedy = "Train them, too: --stages=teacher,student,feature,kd."
    assert caught.value.remedy == remedy
    assert not (tmp_path / "config.json").exists()
    pipeline.claim(["teacher", "student", "feature", "kd"])

  def test_a_report_that_could_not_be_written_is_refused_before_training(
    self, tmp_path
  ):
    pipeline = make(tmp_path / "run")
    folder = pipeline.workdir.report
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "there")
    with pytest.raises(
      UserError, match=r"report: found a link to .*there, which is no"
    ):
      checks.check(pipeline)
    (tmp_path / "there").mkdir()
    checks.check(pipeline)
    (tmp_path / "there" / "index.html").write_text("mine")
    with pytest.raises(UserError, match=r"index\.html: found a file that no report wr"):
      checks.check(pipeline)
    folder.unlink()
    folder.write_text("mine")
    with pytest.raises(UserError, match="report: found a file; expected a folder"):
      checks.check(pipeline)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["index.html"]

  def test_two_processes_in_one_work_directory(self, tmp_path):
    pipeline = make(tmp_path)
    with pipeline.workdir.locked(), pytest.raises(UserError, match="another process"):
      train(make(tmp_path))

  @pytest.mark.parametrize(
    ("changes", "message"),
    [
      ({"devices": 3}, "batch_size: found 4 slices for 3 devices"),
      ({"devices": 99}, "config.devices: found 99"),
      ({"stages.kd.terms.imitation.loss": "imitate"}, "loss: found 'imitate'"),
      ({"stages.kd.terms.imitation.variant": "papers"}, "variant: found 'papers'"),
      ({"stages.kd.teacher": ""}, "without a teacher"),
      ({"stages.kd.select": "ssim"}, "select: found 'ssim'"),
      ({"stages.kd.start_from": "features"}, "start_from: found 'features'"),
      ({"stages.feature.terms.attention.guided": ("cascade_1/conv", "image")},
       "'cascade_1/conv'"),
      ({"stages.feature.terms.attention.hint": ("image",) * 3},
       "one hint layer for each"),
      ({"stages.feature.terms.attention.loss": "fsp",
        "stages.feature.terms.attention.guided": ("cascade_1/activation_2",),
        "stages.feature.terms.attention.hint": ("cascade_1/activation_3",)},
       "config.stages.feature.terms.attention: found layers that it cannot compare"),
      ({"stages.kd.terms.imitation.guided": ("cascade_1/activation_2",)},
       "imitation.guided: found cascade_1/activation_2, maps of (24, 20, 4)"),
      ({"stages.kd.terms.imitation.loss": "fitnets",
        "stages.kd.terms.imitation.guided": ("cascade_1/activation_2",),
        "stages.kd.terms.imitation.hint": ("cascade_1/activation_3",),
        "stages.kd.terms.imitation.weight": 0.0},
       "imitation.weight: found 0"),
      ({"stages.teacher.branches": "student", "models.student.cascades": 3},
       "teacher.branches: found a DCCNN of 3 cascades"),
      ({"models.teacher.channels": 2}, "channels: found 2, with real images"),
      ({"data.phantom.phase": True}, "brain_000: found complex images"),
      ({"batch_size": 0}, "config.batch_size: found 0"),
      ({"seed": -1}, "config.seed: found -1"),
      ({"models.student.features": 0}, "config.models.student.features: found 0"),
      ({"stages.kd.learning_rate": math.nan}, "learning_rate: found nan"),
      ({"stages.kd.decay_factor": 0.0}, "decay_factor: found 0.0"),
      ({"stages.kd.terms.imitation.weight": -1.0}, "weight: found -1.0"),
      ({"stages.kd.start_from": "teacher"}, "a stage of another model"),
      ({"evaluation.models": ()}, "evaluation.models: found none"),
      ({"models.student.variant": "residual"}, "variant: found 'residual'"),
      ({"models.student.consistency": "matrix1"}, "consistency: found 'matrix1'"),
      ({"stages.teacher.epochs": -1}, "epochs: found -1"),
      ({"evaluation.protocol": "psnr"}, "protocol: found 'psnr'"),
      ({"evaluation.teacher": "student"}, "the teacher, too"),
      ({"evaluation.teacher": "tutor"}, "evaluation.teacher: found 'tutor'"),
      ({"data.source": "nift"}, "data.source: found 'nift'"),
      ({"mask.acceleration": 0.5}, "acceleration"),
    ],
  )  # fmt: skip
  def test_bad_settings_are_found_before_anything_is_written(
    self, tmp_path, changes, message
  ):
    config = tiny_config()
    config.update_from_flattened_dict(changes)
    folder = tmp_path / "run"
    with pytest.raises(UserError) as caught:
      train(Experiment(config_lib.parse(config), folder))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not folder.exists() or not any(p.suffix == ".json" for p in folder.iterdir())
