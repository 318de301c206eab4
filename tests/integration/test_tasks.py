"""Several ways of measuring, undone by one network; a teacher for each."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest
from helpers.data_files import save_h5
from helpers.tiny import finish, run_file, tiny_config, train

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax.data import tasks
from kdmri_jax.errors import UserError
from kdmri_jax.inference import load, reconstruct
from kdmri_jax.physics import acquisition
from kdmri_jax.physics.masks import recipes
from kdmri_jax.report import write_reports
from kdmri_jax.training import batches
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.stage_networks import Networks, complete, teach, vary
from kdmri_jax.types import Slices

pytestmark = pytest.mark.usefixtures("quick_compilation")

EDSR = {"network": "edsr", "blocks": 1, "features": 4}


def two_tasks(**changes):
  """Two experts, one for noise and one for low resolution, teach one student both."""
  config = tiny_config(epochs=1, devices=2, **changes)
  plain = {"acceleration": 2.0, "centre_lines": 1, "axis": 0, "seed": 0, "path": ""}
  config.tasks = {
    "denoise": {
      "mask": {**plain, "kind": "full"},
      "noise": {"snr": (8.0, 16.0), "averages": 1, "fresh": True},
    },
    "sharpen": {
      "mask": {**plain, "kind": "central"},
      "noise": {"snr": (math.inf, math.inf), "averages": 1, "fresh": True},
    },
  }
  config.models = {"teacher": {**EDSR, "features": 6}, "student": EDSR}
  for name in ("denoise", "sharpen"):
    expert = config.stages.teacher.copy_and_resolve_references()
    expert.tasks = (name,)
    config.stages[f"expert_{name}"] = expert
  kd = config.stages.kd
  kd.start_from, kd.teacher = "", ""
  kd.teachers = {name: f"expert_{name}" for name in ("denoise", "sharpen")}
  del config.stages.teacher, config.stages.feature
  config.pipeline = ("expert_denoise", "expert_sharpen", "student", "kd")
  config.evaluation.models = config.pipeline
  config.evaluation.teacher = "expert_denoise"
  config.evaluation.teachers = kd.teachers
  config.evaluation.update(rois="auto", timing=3)
  return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  path = tmp_path_factory.mktemp("tasks") / "run"
  pipeline = Experiment(config_lib.parse(two_tasks()), path)
  return train(pipeline)[0]


@pytest.mark.slow
def test_each_task_has_its_report(trained):
  reports = write_reports.write_reports([trained])
  folder = trained.workdir.path
  assert [r.path for r in reports] == [
    folder / "report" / task / "index.html" for task in ("denoise", "sharpen")
  ]
  for task, report in zip(("denoise", "sharpen"), reports, strict=True):
    found = json.loads(report.path.with_name("report.json").read_text())
    models = [row["model"] for row in found["rows"]]
    assert models == ["zero_filled", f"expert_{task}", "student", "kd"]
    assert found["title"].endswith(f": {task}")
    assert (folder / "seed_42" / "kd" / "results" / task).is_dir()
    assert [row["model"] for row in found["timing"]] == models[1:]
    assert all(row["mean"] > 0 and row["n"] == 3 for row in found["timing"])
    assert [row["model"] for row in found["snr"]["rows"]] == models
    assert {e["model"] for e in found["snr"]["effects"]} == {*models} - {"student"}
    page = report.path.read_text()
    assert "Signal and noise" in page and "Inference time" in page
    assert report.path.with_name("figures").joinpath("regions.png").is_file()


@pytest.mark.slow
def test_the_noise_of_the_evaluation_is_the_same_for_all(trained):
  view = trained.for_task("denoise")
  first, again = (
    complete(view.dataset.test.parts[0], view.dataset.acquisitions[24, 20])
    for _ in range(2)
  )
  np.testing.assert_array_equal(first.zero_filled, again.zero_filled)
  assert np.abs(first.zero_filled - first.target).max() > 1e-3


@pytest.mark.slow
def test_each_image_is_taught_by_the_expert_of_its_task(trained):
  networks = trained.plans.networks["kd"]
  parts = trained.plans.slices("kd", "validation")
  slices = batches.take(*parts, np.arange(*batches.counts(parts)))
  batch = complete(slices, trained.dataset.acquisitions[24, 20])
  experts = [trained.best(f"expert_{name}") for name in ("denoise", "sharpen")]
  hints = teach(networks, experts, batch)["imitation"][0]
  half = len(slices.target) // 2
  np.testing.assert_array_equal(slices.task, [0] * half + [1] * half)
  for number, rows in enumerate((slice(half), slice(half, None))):
    alone = networks._replace(teachers=(networks.teachers[number],), taught_by=())
    own = teach(alone, [experts[number]], batch)["imitation"][0]
    np.testing.assert_allclose(hints[rows], own[rows], atol=1e-6)
    assert np.abs(hints - own).max() > 1e-4


@pytest.mark.slow
def test_an_expert_sees_its_own_task_only(trained):
  (slices,) = trained.plans.slices("expert_sharpen", "train")
  assert batches.counts([slices]) == (len(trained.dataset.train.parts[0].target),)
  assert set(slices.task) == {1}


@pytest.mark.slow
def test_files_are_measured_as_the_task_does_or_taken_as_they_are(trained, tmp_path):
  rng = np.random.default_rng(0)
  image = rng.random((2, 20, 18)).astype(np.float32)
  save_h5(tmp_path / "a.h5", target=image)
  path, workdir = tmp_path / "a.h5", trained.workdir.path
  inputs = {}
  for task in ("denoise", "sharpen"):
    found = run_file(workdir, "kd", path, task=task)
    inputs[task] = found["zero_filled"]
    np.testing.assert_allclose(found["target"], image, atol=1e-6)
  kept = recipes.central((20, 18), 2.0) * np.fft.fft2(image)
  np.testing.assert_allclose(inputs["sharpen"], np.abs(np.fft.ifft2(kept)), atol=1e-5)
  assert 1e-3 < np.abs(inputs["denoise"] - image).mean() < 0.2
  found = run_file(workdir, "kd", path, as_is=True)
  np.testing.assert_allclose(found["zero_filled"], image, atol=1e-5)
  assert "target" not in found
  network = kd.load(workdir, "kd")
  assert network.input_scale.statistic == "brightness"
  divisor = network.input_scale.divisor(image)
  expected = np.abs(divisor * network.apply(image / divisor))
  np.testing.assert_allclose(found["reconstruction"], expected, atol=1e-5)
  with pytest.raises(UserError, match=r"^task: found 'blur'"):
    run_file(workdir, "kd", path, task="blur")


def test_a_network_for_all_tasks_has_all_their_masks(tmp_path):
  finish(Experiment(config_lib.parse(two_tasks()), tmp_path), "student")
  masks = load.load(tmp_path, "student", (20, 18), task=None).acquisition.masks
  assert masks.shape == (2, 20, 18)
  assert masks[0].all() and not masks[1].all()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"stages.kd.teachers": {"denoise": "expert_denoise"}}, "kd.teachers: found"),
    ({"stages.kd.teacher": "expert_denoise"}, "also one teacher for all tasks"),
    ({"stages.kd.tasks": ("blur",)}, "kd.tasks: found 'blur'"),
    ({"tasks.denoise.noise.snr": (9.0, 3.0)}, "tasks.denoise.noise.snr: found"),
    ({"noise.snr": (0.0, 3.0)}, "config.noise.snr: found"),
    ({"noise.snr": (3.0, math.inf)}, "config.noise.snr: found"),
    ({"noise.averages": 0}, "noise.averages: found 0"),
    ({"evaluation.teachers": {"blur": "kd"}}, "evaluation.teachers: found 'blur'"),
    ({"augment.patch": (4, 4)}, "config.augment.patch: found (4, 4)"),
    ({"augment.patch": (64, 16)}, "config.augment.patch: found (64, 16)"),
    ({"augment.rotations": True}, "quarter turns of 24x20"),
    ({"augment.patch": (8, 8), "models.student": {"network": "dccnn"}},
     "a patch without measured k-space"),
    ({"augment.patch": (25, 20)}, "8 to 24 rows and 8 to 20 columns"),
    ({"tasks.sharpen.mask.acceleration": 0.5},
     "config.tasks.sharpen.mask.acceleration: found 0.5"),
  ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
  config = two_tasks().to_dict()
  for key, value in changes.items():
    *path, last = key.split(".")
    part = config
    for name in path:
      part = part[name]
    part[last] = value
  with pytest.raises(UserError) as caught:
    Experiment(config_lib.parse(config), tmp_path / "run")
  assert message in str(caught.value)


def test_every_slice_comes_once_for_each_task():
  target = np.arange(12, dtype=np.float32).reshape(3, 2, 2, 1)
  parts = [Slices(target)]
  (found,) = tasks.assign(parts, [0, 2], count=3, noisy=True, name="train")
  assert found.target is target and batches.counts([found]) == (6,)
  every = batches.take(found, np.arange(6))
  np.testing.assert_array_equal(every.target, np.concatenate([target, target]))
  np.testing.assert_array_equal(found.task, [0, 0, 0, 2, 2, 2])
  assert len(set(found.draws.tolist())) == 6
  (alone,) = tasks.assign(parts, [2], count=3, noisy=True, name="train")
  np.testing.assert_array_equal(alone.draws, found.draws[3:])
  (same,) = tasks.assign(parts, [0], count=1, noisy=False, name="train")
  assert same.target is target and same.task is None and same.draws is None


def test_measuring_several_tasks_is_measuring_each():
  config = config_lib.parse(two_tasks())
  acquired = acquisition.build(config.tasks, (24, 20))
  target = np.random.default_rng(0).random((4, 24, 20, 1)).astype(np.float32)
  task, draws = np.array([0, 1, 1, 0]), np.arange(4, dtype=np.uint32)
  whole, measurement = jax.jit(acquisition.measure)(target, acquired, task, draws)
  for number in (0, 1):
    own = acquired._replace(masks=acquired.masks[[number]], snr=acquired.snr[[number]])
    rows = task == number
    part, alone = acquisition.measure(target[rows], own, None, draws[rows])
    np.testing.assert_allclose(whole[rows], part, atol=1e-6)
    np.testing.assert_allclose(measurement.kspace[rows], alone.kspace, atol=1e-5)


@pytest.mark.slow
class TestGivenExperts:
  def test_they_teach_as_in_the_run_that_trained_them(self, trained, tmp_path):
    config = two_tasks()
    config.pipeline = ("expert_denoise", "expert_sharpen", "kd")
    config.evaluation.models = config.pipeline
    for name in config.pipeline[:2]:
      config.stages[name].given = str(trained.workdir.path / name)
    (run,) = train(Experiment(config_lib.parse(config), tmp_path))
    jax.tree.map(np.testing.assert_array_equal, run.best("kd"), trained.best("kd"))

  def test_outputs_teach_the_images_of_their_task(self, trained, tmp_path):
    config = two_tasks()
    config.tasks.denoise.noise.fresh = config.tasks.sharpen.noise.fresh = False
    config.stages.expert_sharpen.given = str(tmp_path / "outputs")
    for part in (trained.dataset.train, trained.dataset.validation):
      for volume in part.volumes:
        images = 2 * volume.target[..., None]
        reconstruct.write(tmp_path / "outputs", images, volume, "reconstruction")
    run = Experiment(config_lib.parse(config), tmp_path / "run")
    networks = run.plans.networks["kd"]
    assert networks.teachers[1] is None
    (slices,) = run.plans.slices("kd", "validation")
    half = len(slices.target)
    given = slices.given["image"]
    assert len(given) == len(slices.task) == 2 * half
    assert not given[:half].any()
    np.testing.assert_allclose(given[half:], 2 * slices.target, rtol=1e-6)


def test_noise_is_fresh_where_the_task_says_so():
  config = two_tasks()
  config.tasks.sharpen.noise.update(snr=(8.0, 16.0), fresh=False)
  acquired = acquisition.build(config_lib.parse(config).tasks, (24, 20))
  target = np.random.default_rng(0).random((2, 24, 20, 1)).astype(np.float32)
  slices = Slices(
    target, task=np.array([0, 1], np.int32), draws=np.array([5, 6], np.uint32)
  )
  stays = complete(slices, acquired).zero_filled
  networks = Networks(None, (), fresh=(True, False))
  drawn = vary(networks, slices, acquired, np.array([7, 8], np.uint32)).zero_filled
  assert (np.asarray(drawn[0]) != stays[0]).any()
  np.testing.assert_array_equal(drawn[1], stays[1])
  assert networks.varies and not Networks(None, (), fresh=(False, False)).varies


def test_averages_raise_the_ratio():
  noise = config_lib.NoiseConfig((5.0, 10.0), 4, True)
  mask = dataclasses.replace(config_lib.parse(tiny_config()).mask, kind="full")
  acquired = acquisition.build({"": config_lib.TaskConfig(mask, noise)}, (8, 8))
  np.testing.assert_allclose(acquired.snr, [[10.0, 20.0]])
  assert not Networks(None, ()).varies
