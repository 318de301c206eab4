"""Networks that the user has already, as teachers: ONNX files and Flax modules."""

import json
import pathlib
import shutil

import flax
import jax
import numpy as np
import onnx
import pytest
from flax import linen as nn
from helpers import onnx_files
from helpers.sweep import make, refused, sweep_config
from helpers.tiny import finish, history, train
from onnx import helper

from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.inference import load
from kdmri_jax.models import contract, features
from kdmri_jax.models.features import count_parameters
from kdmri_jax.report import write_reports
from kdmri_jax.training.stage_networks import complete
from kdmri_jax.types import Outputs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


class Wide(nn.Module):
  """A network of the user's, which sows one layer."""

  width: int = 4

  @nn.compact
  def __call__(self, image, measurement):
    hidden = nn.relu(nn.Conv(self.width, (3, 3))(image))
    self.sow("intermediates", "hidden", hidden)
    return Outputs(image + nn.Conv(1, (3, 3))(hidden))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
  """A run whose teacher has its first weights, and that teacher as an ONNX file."""
  folder = tmp_path_factory.mktemp("teacher")
  run = make(folder / "run")
  finish(run, "teacher")
  path, size = folder / "teacher.onnx", (24, 20)
  interop.save_onnx(path, run.models["teacher"], run.best("teacher"), size)
  return run, path


def content_of(report):
  return json.loads(report.path.with_name("report.json").read_text())


def flat(params):
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


class TestOnnx:
  def test_the_hint_is_the_output_of_the_teacher(self, untrained, tmp_path):
    run, path = untrained
    given = make(tmp_path, given=path)
    for split in ("train", "validation"):
      (slices,) = given.plans.slices("kd", split)
      batch = complete(slices, given.dataset.acquisitions[24, 20])
      inputs = {"params": run.best("teacher")}, batch.zero_filled, batch.measurement
      expected = jax.jit(run.models["teacher"].apply)(*inputs).image
      np.testing.assert_allclose(slices.given["image"], expected, atol=1e-5)

  def test_its_student_is_that_of_the_teacher(self, untrained, tmp_path):
    run, path = untrained
    teacher = run.workdir.path / "teacher"
    (own,) = train(make(tmp_path / "own", given=teacher))
    (other,) = train(make(tmp_path / "onnx", given=path))
    (alone,) = train(make(tmp_path / "alone", alpha=1.0, given=teacher))
    like, unlike, expected = (flat(each.best("kd")) for each in (other, alone, own))
    moved = np.linalg.norm(expected - flat(own.initial_params("kd")))
    # Rounding decides on the signs of some small gradients, which Adam then follows.
    assert np.linalg.norm(like - expected) < 0.01 * moved
    assert np.linalg.norm(unlike - expected) > 0.1 * moved
    (report,) = write_reports.write_reports([other])
    content = content_of(report)
    rows = {row["model"]: row for row in content["rows"]}
    assert rows["teacher"]["parameters"] == count_parameters(run.best("teacher"))
    assert rows["teacher"]["minutes"] is rows["teacher"]["steps"] is None
    (expected,) = write_reports.write_reports([own])
    rows_of_own = {row["model"]: row for row in content_of(expected)["rows"]}
    psnr = rows_of_own["teacher"]["psnr"]["mean"]
    assert rows["teacher"]["psnr"]["mean"] == pytest.approx(psnr, abs=1e-3)
    assert any("not known which subjects" in each for each in content["cautions"])
    assert not report.failed
    with pytest.raises(UserError, match=r"teacher\.onnx', an ONNX file; expected a"):
      load.load(tmp_path / "onnx", "teacher", (24, 20))

  def test_its_layers_are_those_of_the_teacher(self, untrained, tmp_path):
    """Attention maps of a layer that the file has as another output."""
    run, path = untrained
    layer = "cascade_2/activation_2"
    relus = [n for n in onnx.load(path).graph.node if n.op_type == "Relu"]
    node = helper.make_node("Identity", relus[5].output, [layer])
    copy = pathlib.Path(shutil.copy(path, tmp_path / "layers.onnx"))
    path = onnx_files.with_outputs(copy, [node])
    runs = []
    for name, given in (("own", run.workdir.path / "teacher"), ("onnx", path)):
      config = sweep_config(given=given)
      config.pipeline = ("teacher", "feature")
      config.evaluation.update(models=config.pipeline, student="feature", control="")
      attention = config.stages.feature.terms.attention
      attention.guided, attention.hint = ("cascade_2/activation_1",), (layer,)
      runs += train(make(tmp_path / name, config))
    other = runs[1]
    (slices,) = other.plans.slices("feature", "train")
    batch = complete(slices, other.dataset.acquisitions[24, 20])
    inputs = run.best("teacher"), batch.zero_filled, batch.measurement
    _, layers = features.apply(run.models["teacher"], *inputs)
    np.testing.assert_allclose(slices.given[layer], layers[layer], atol=1e-5)
    losses = [history(each.workdir.path, "feature")[0]["train"] for each in runs]
    assert losses[1]["attention"] == pytest.approx(losses[0]["attention"], rel=1e-4)

  def test_two_tasks_are_measured_each(self, tmp_path):
    path = onnx_files.save_blur(tmp_path / "blur.onnx")
    config = sweep_config(given=path)
    config.tasks = {
      "low": {
        "mask": {"kind": "central", "acceleration": 4.0},
        "noise": {"fresh": False},
      },
      "noisy": {
        "mask": {"acceleration": 3.0, "centre_lines": 4},
        "noise": {"snr": (20.0, 20.0), "fresh": False},
      },
    }
    run = make(tmp_path / "run", config)
    (slices,) = run.plans.slices("kd", "train")
    count = len(slices.target)
    assert len(slices.given["image"]) == 2 * count
    by = run.dataset.acquisitions[24, 20]
    twice = slices._replace(target=np.tile(slices.target, (2, 1, 1, 1)))
    zero_filled = np.asarray(complete(twice, by).zero_filled)
    assert np.abs(zero_filled[:count] - zero_filled[count:]).max() > 0.01
    expected = onnx_files.blurred(zero_filled)
    np.testing.assert_allclose(slices.given["image"], expected, atol=1e-5)

  def test_it_teaches_on_patches(self, tmp_path):
    """Of its images the same patch is cut and turned as of the target."""
    config = sweep_config(given=onnx_files.save_blur(tmp_path / "blur.onnx"))
    config.mask.kind = "full"
    config.augment.update(flips=True, rotations=True, patch=(12, 12))
    for name in config.models:
      config.models[name] = dict(network="edsr", blocks=1, features=4)
    run = make(tmp_path / "run", config)
    assert train(run)
    (line,) = history(tmp_path / "run", "kd")
    assert 0 < line["train"]["imitation"] < 1

  def test_what_it_cannot_do_is_refused(self, untrained, tmp_path):
    _, path = untrained
    config = sweep_config(given=path)
    config.augment.flips = True
    refused(r"differ from step to step.*no config\.augment", config, tmp_path)
    config = sweep_config(given=path)
    config.pipeline = ("teacher", "feature", "kd")
    refused(r"terms\.attention\.hint: .*one of its layers: image", config, tmp_path)
    wrong = onnx_files.save_blur(tmp_path / "wrong.onnx", ("b", 1, 32, 32))
    refused(
      r"the input x \[None, 1, 32, 32\]", sweep_config(given=wrong), tmp_path / "new"
    )

  def test_patches_of_a_layer_of_other_pixels(self, tmp_path):
    pooled = helper.make_node("MaxPool", ["x"], ["small"], kernel_shape=[2, 2])
    path = onnx_files.save_blur(tmp_path / "blur.onnx")
    config = sweep_config(given=onnx_files.with_outputs(path, [pooled]))
    config.mask.kind = "full"
    config.augment.patch = (12, 12)
    for name in config.models:
      config.models[name] = dict(network="edsr", blocks=1, features=4)
    config.stages.kd.terms.hint = dict(
      loss="fitnets", variant="paper", weight=1.0, guided=("block_1",), hint=("small",)
    )
    refused(r"augment\.patch: .*the layer small \[23, 19, 1\]", config, tmp_path)


class TestFlax:
  def config(self, given):
    config = sweep_config(given=given)
    config.pipeline = ("teacher", "feature", "kd")
    config.models.teacher = {"network": "test_any_teacher:Wide", "width": 6}
    config.stages.kd.start_from = "feature"
    attention = config.stages.feature.terms.attention
    attention.guided, attention.hint = ("cascade_1/activation_2",), ("hidden",)
    return config

  def test_a_module_with_its_weights(self, tmp_path):
    """Its layer and its image teach; the weights are those of the file."""
    shapes = contract.parameter_shapes(Wide(6), (24, 20))
    params = jax.tree.map(
      lambda x: np.random.default_rng(x.size).normal(0, 0.1, x.shape), shapes
    )
    path = tmp_path / "wide.msgpack"
    path.write_bytes(flax.serialization.to_bytes({"params": params}))
    (run,) = train(make(tmp_path / "run", self.config(path)))
    jax.tree.map(
      lambda a, b: np.testing.assert_array_equal(a, b.astype(np.float32)),
      run.best("teacher"),
      params,
    )
    (report,) = write_reports.write_reports([run])
    rows = {row["model"]: row for row in content_of(report)["rows"]}
    assert rows["teacher"]["parameters"] == count_parameters(params)
    assert rows["teacher"]["given"] and rows["teacher"]["minutes"] is None
    config = self.config(path)
    config.models.teacher["width"] = 5
    refused(
      r"wide\.msgpack: .*Conv_0/bias \(6,\) and not \(5,\)", config, tmp_path / "new"
    )
