"""What shows a training: curves, hyper-parameters, pictures; TensorBoard and MLflow."""

import io
import math
import sys

import numpy as np
import pytest
from helpers.event_files import shown, steps
from helpers.tiny import tiny_config
from PIL import Image
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from kdmri_jax import config as config_lib
from kdmri_jax.config.setting import keys
from kdmri_jax.config.watch import WatchConfig
from kdmri_jax.errors import UserError
from kdmri_jax.training import log, trackers
from kdmri_jax.training.trackers import curves, picture

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4)
TABLES = {"": ("table", {"kd": {"PSNR in dB": 31.5, "SSIM": None}})}


def config(**watch):
  return config_lib.parse(tiny_config(watch=watch))


def epoch(number):
  entry = {"event": "epoch", "epoch": number, "step": 5 * number, "seconds": 0.1}
  entry |= {"learning_rate": 1e-3, "best": True, "train": {"loss": 1 / number}}
  return entry | {"validation": {"psnr": 20.0 + number, "mse": math.nan}}


def train(workdir, first, last, **watch):
  """What a training from the epoch `first` on logs, until it is stopped at `last`."""
  opened = trackers.open_all(workdir, config(**watch))
  folder = workdir / "seed_42" / "kd"
  folder.mkdir(parents=True, exist_ok=True)
  stage = log.StageLog(folder, "kd", 5 * first, 15, seed=42, trackers=opened)
  for number in range(first, last):
    stage.audit(5 * number, {"imitation": {"value": 1.0, "norm": 2.0, "cosine": 0.5}})
    stage.epoch(epoch(number + 1))
    stage.image(PICTURE, 5 * (number + 1))
  stage.close()


def stopped_and_resumed(workdir, **watch):
  """Stopped after two epochs, of which the second was not saved; then to the end."""
  train(workdir, 0, 2, **watch)
  train(workdir, 1, 3, **watch)
  return workdir / "seed_42" / "kd"


def test_curves_have_the_words_of_the_field():
  step, values = curves.of_entry(epoch(2))
  assert step == 10
  assert {name: value for name, value in values.items() if value == value} == {
    "training/learning rate": 1e-3,
    "training/loss": 0.5,
    "validation/PSNR in dB": 22.0,
  }
  audit = {"event": "audit", "step": 10, "terms": {"imitation": {"share": 0.25}}}
  assert curves.of_entry(audit) == (11, {"gradient/imitation share of the norm": 0.25})


def test_hyperparameters_are_those_of_the_stage_and_its_network():
  found = curves.hyperparameters(config(), "kd", 7)
  assert (found["seed"], found["teacher"], found["epochs"]) == (7, "teacher", 2)
  assert found["terms.imitation.weight"] == 0.5
  assert found["network.convolutions"] == 3 and found["mask.acceleration"] == 3.0
  assert found["noise.snr"] == "inf, inf" and "given" not in found
  assert not any(key.startswith("augment") for key in found)
  augmented = config_lib.parse(tiny_config(augment={"flips": True}))
  assert curves.hyperparameters(augmented, "kd", 7)["augment.flips"] is True


def test_the_picture_shows_pixels_as_they_are():
  rng = np.random.default_rng(0)
  target, output = rng.random((2, 60, 150, 2)).astype(np.float32)
  shown = picture.of_slice(target, output, target, epoch=3)
  height, width = shown.shape
  assert height < 60 + 20 and width == 4 * 150 + 3
  grey = np.linalg.norm(target, axis=-1)
  expected = np.round(255 * grey / grey.max())
  np.testing.assert_array_equal(shown[-60:, :150], expected)
  np.testing.assert_array_equal(shown[-60:, 302:452], expected)


def test_tensorboard_goes_on_without_a_point_twice(tmp_path):
  folder = stopped_and_resumed(tmp_path) / "tensorboard"
  found = steps(folder)
  assert found["training/loss"] == found["validation/PSNR in dB"] == [5, 10, 15]
  assert found["gradient/imitation share of the norm"] == [1, 6, 11]
  assert found["validation slice"] == [5, 10, 15]
  values = shown(folder)
  image = values["validation slice"][-1][1].image
  assert (image.height, image.width) == PICTURE.shape
  with Image.open(io.BytesIO(image.encoded_image_string)) as read:
    np.testing.assert_array_equal(np.asarray(read), PICTURE)
  content = values["_hparams_/session_start_info"][0][1].metadata.plugin_data.content
  settings = HParamsPluginData.FromString(content).session_start_info.hparams
  assert settings["terms.imitation.weight"].number_value == 0.5
  (text,) = values["config/text_summary"][-1][1].tensor.string_val
  assert b'    "name": "tiny"' in text


def test_the_choices_of_the_config_are_the_trackers():
  choices = keys(WatchConfig)["tracker"].limits.choices
  assert set(choices) == {"", *trackers.TRACKERS}
  trackers.check(config())


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
  with pytest.raises(UserError) as caught:
    trackers.check(config(tracker="mlflow"))
  assert str(caught.value) == (
    "config.watch.tracker: found 'mlflow', but the package mlflow is not installed; "
    "expected mlflow. Install it with: pip install '.[mlflow]'."
  )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of MLflow's own packages
def test_mlflow_goes_on_in_the_same_run(tmp_path, monkeypatch):
  mlflow = pytest.importorskip("mlflow", reason="pip install '.[mlflow]'")
  monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
  stopped_and_resumed(tmp_path, tracker="mlflow")
  for _ in range(2):  # the report is written again
    trackers.finish(tmp_path, config(tracker="mlflow"), TABLES)
  client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
  experiment = client.get_experiment_by_name(str(tmp_path))
  assert experiment.tags["mlflow.note.content"] == "tiny"
  runs = client.search_runs([experiment.experiment_id])
  runs = {run.info.run_name: run for run in runs}
  assert set(runs) == {"kd, seed 42", "comparison"}
  assert {run.info.status for run in runs.values()} == {"FINISHED"}
  stage, comparison = (runs[name].info.run_id for name in ("kd, seed 42", "comparison"))

  def points(name, run=stage):
    return [(p.step, p.value) for p in client.get_metric_history(run, name)]

  assert points("validation/PSNR in dB") == [(5, 21.0), (10, 22.0), (15, 23.0)]
  assert points("gradient/imitation share of the norm") == [(1, 1), (6, 1), (11, 1)]
  assert points("PSNR in dB/kd", comparison) == [(0, 31.5)]
  assert runs["kd, seed 42"].data.params["terms.imitation.weight"] == "0.5"
  files = [file.path for file in client.list_artifacts(stage, "images")]
  pictures = sorted(name for name in files if name.endswith(".png"))
  assert len(pictures) == 3 and "+step+5+" in " ".join(pictures)
  with Image.open(client.download_artifacts(stage, pictures[0], str(tmp_path))) as read:
    np.testing.assert_array_equal(np.asarray(read), PICTURE)
  texts = {file.path for file in client.list_artifacts(comparison)}
  assert texts == {"comparison.txt", "config.json"}


@pytest.mark.filterwarnings("default")
def test_a_store_that_takes_nothing_is_named(tmp_path, monkeypatch):
  pytest.importorskip("mlflow", reason="pip install '.[mlflow]'")
  (tmp_path / "store.db").write_text("no database")
  store = f"sqlite:///{tmp_path}/store.db"
  monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
  with pytest.raises(UserError, match=r"store\.db: found an error of MLflow .*goes on"):
    trackers.open_all(tmp_path, config(tracker="mlflow"))
