"""Slices that stay in their files, and slices of several shapes."""

import dataclasses
import json

import h5py
import jax
import numpy as np
import pytest
from helpers.data_files import EVEN_ROWS, all_sampled, config, kdmri_folder, measured_by
from helpers.tiny import assert_same_end, final, tiny_config, train

from kdmri_jax import config as config_lib
from kdmri_jax.data import load, read, stored, tasks
from kdmri_jax.data.sources import prepared
from kdmri_jax.errors import UserError
from kdmri_jax.report import write_reports
from kdmri_jax.training import batches, log, parallel, step
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.optimiser import make_optimiser
from kdmri_jax.training.stage_networks import Teacher

pytestmark = pytest.mark.usefixtures("quick_compilation")


def prepare(settings, out):
  prepared.write_folder(read(settings), out, {})
  return dataclasses.replace(settings, source="prepared", root=str(out), memory_mb=0)


def in_memory(settings):
  return dataclasses.replace(settings, memory_mb=100)


@pytest.mark.parametrize("phase", [False, True])
def test_what_is_read_is_what_memory_holds(tmp_path, phase):
  phantom = dataclasses.replace(config().phantom, phase=phase)
  settings = prepare(config(phantom=phantom), tmp_path / "out")
  stays, held = (load(s, all_sampled) for s in (settings, in_memory(settings)))
  (part,), (expected,) = stays.train.parts, held.train.parts
  assert stored.is_stored(part.target) and not stored.is_stored(expected.target)
  assert part.target.shape == expected.target.shape
  assert part.target.dtype == np.float32
  for index in (slice(2, 7), np.array([8, 0, 3, 0])):
    np.testing.assert_array_equal(part.target[index], expected.target[index])
  (both,) = tasks.assign([part], [0, 1], count=2, noisy=False, name="train")
  again = batches.take(both, np.array([1, 1 + len(part.target)]))
  np.testing.assert_array_equal(again.target, expected.target[[1, 1]])
  assert [v.digests for v in stays.train.volumes] == [
    v.digests for v in held.train.volumes
  ]


def test_measured_kspace_stays_in_its_files_too(tmp_path):
  settings = prepare(kdmri_folder(tmp_path / "raw"), tmp_path / "out")
  stays, held = (
    load(s, measured_by(EVEN_ROWS)) for s in (settings, in_memory(settings))
  )
  rows = np.array([4, 0])
  for name in ("target", "kspace", "zero_filled"):
    part, expected = (getattr(d.train.parts[0], name) for d in (stays, held))
    assert part.dtype == expected.dtype
    np.testing.assert_array_equal(part[rows], expected[rows])
  with pytest.raises(UserError, match=r"found k-space that has samples at"):
    load(settings, measured_by(EVEN_ROWS[::-1]))


def test_a_mask_is_checked_without_reading_kspace(tmp_path):
  settings = prepare(kdmri_folder(tmp_path / "raw"), tmp_path / "out")
  path = tmp_path / "out" / "train_1.h5"
  with h5py.File(path, "a") as file:
    file["kspace"][...] = 0
  data = load(settings, measured_by(EVEN_ROWS))
  with pytest.raises(UserError, match=r"train_1.h5: found slice 0 of 'kspace', which"):
    data.train.parts[0].kspace[np.array([3])]
  with h5py.File(path, "a") as file:
    file["kspace_peak"][1, 0] = 1
  with pytest.raises(UserError, match=r"train_1.h5: found 'kspace_peak', which has ch"):
    load(settings, measured_by(EVEN_ROWS))
  with h5py.File(path, "a") as file:
    del file["kspace_peak"]
  with pytest.raises(UserError, match=r"train_1.h5: found slice 0 of 'kspace', which"):
    load(settings, measured_by(EVEN_ROWS))


def test_real_and_complex_volumes_of_one_shape(tmp_path):
  """A batch of both keeps the imaginary part, in whatever order they come."""
  volumes = []
  for phase in (False, True):
    phantom = dataclasses.replace(config().phantom, phase=phase, subjects=2)
    for volume in read(config(phantom=phantom)):
      name = f"{volume.name}_{'complex' if phase else 'real'}"
      volumes.append(dataclasses.replace(volume, name=name, subject=name))
  prepared.write_folder(volumes, tmp_path / "out", {})
  settings = config(source="prepared", root=str(tmp_path / "out"), memory_mb=0)
  stays, held = (load(s, all_sampled) for s in (settings, in_memory(settings)))
  part, expected = stays.train.parts[0].target, held.train.parts[0].target
  for rows in ([0, 3, 6], [6, 3, 0], [0, 1], [8, 7]):
    np.testing.assert_array_equal(part[np.array(rows)], expected[rows])
  assert np.abs(expected[..., 1]).max() > 0.1


def test_a_slice_that_has_changed_is_noticed_when_it_is_read(tmp_path):
  settings = prepare(config(), tmp_path / "out")
  data = load(settings, all_sampled)
  name = data.train.volumes[1].name
  with h5py.File(tmp_path / "out" / f"{name}.h5", "a") as file:
    file["target"][1] = file["target"][1][::-1]
  data.train.parts[0].target[np.array([0, 3, 5])]
  with pytest.raises(UserError, match=rf"{name}.h5: found slice 1 of 'target', which"):
    data.train.parts[0].target[np.array([0, 4])]


@pytest.mark.parametrize(
  ("change", "found"),
  [
    (lambda x: x.astype(np.float64), "values of type float64"),
    (lambda x: x[:2], "2 slices and another number of digests"),
    (lambda x: x[0], r"arrays of shape \(32, 28\)"),
  ],
)
def test_arrays_that_were_exchanged_are_refused(tmp_path, change, found):
  settings = prepare(config(), tmp_path / "out")
  path = next((tmp_path / "out").glob("*.h5"))
  with h5py.File(path, "a") as file:
    target = change(file["target"][()])
    del file["target"]
    file["target"] = target
  with pytest.raises(UserError, match=rf"{path.name}: found {found}"):
    load(settings, all_sampled)


@pytest.mark.parametrize(
  ("changes", "found"),
  [
    ({"crop": (16, 16)}, r"slices of \(32, 28\), to be cropped to \(16, 16\)"),
    ({"slices_per_volume": 2}, "3 slices, of which 2 are to be used"),
  ],
)
def test_what_would_change_the_slices_is_refused(tmp_path, changes, found):
  settings = dataclasses.replace(prepare(config(), tmp_path / "out"), **changes)
  with pytest.raises(UserError, match=found):
    load(settings, all_sampled)


def test_files_that_were_not_prepared_are_refused(tmp_path):
  settings = prepare(config(scaling="none"), tmp_path / "out")
  path = next((tmp_path / "out").glob("*.h5"))
  with h5py.File(path, "a") as file:
    file.attrs["maximum"] = 2.0
  load(dataclasses.replace(settings, scaling="none"), all_sampled)
  with pytest.raises(UserError, match=rf"{path.name}: found a maximum of 2.0"):
    load(dataclasses.replace(settings, scaling="volume_max"), all_sampled)
  with h5py.File(path, "a") as file:
    del file["digests"]
  with pytest.raises(
    UserError, match=rf"{path.name}: found no digests .*prepared with"
  ):
    load(settings, all_sampled)


def test_a_file_that_goes_away_is_named(tmp_path):
  settings = prepare(config(), tmp_path / "out")
  data = load(settings, all_sampled)
  order = batches.in_order(batches.counts(data.train.parts), 4)
  assert len(list(batches.load(data.train.parts, order))) == 3
  last = data.train.volumes[-1].name
  (tmp_path / "out" / f"{last}.h5").unlink()
  with pytest.raises(UserError, match=rf"{last}.h5: found a file that cannot be read"):
    list(batches.load(data.train.parts, order))


def test_cpu_devices_share_the_host_s_memory():
  parts = load(config(), all_sampled).train.parts
  assert parallel.keep(parts, jax.devices()[:1]) is parts


def two_shapes(tmp_path, **changes):
  """Phantoms of 24x20 and of 20x28 in one prepared folder; teacher and kd stage."""
  experiment = tiny_config(epochs=2, devices=2, pipeline=("teacher", "kd"), **changes)
  experiment.stages.kd.start_from = ""
  experiment.evaluation.models = ("teacher", "kd")
  experiment.data.update(source="prepared", root=str(tmp_path / "out"))
  experiment.data.update(memory_mb=0, validation=("wide_2", "tall_5"))
  if not (tmp_path / "out").exists():
    volumes = []
    for name, size in (("tall", (24, 20)), ("wide", (20, 28))):
      phantom = config_lib.parse(experiment).data.phantom
      phantom = dataclasses.replace(phantom, size=size, subjects=6, slices=2)
      for number, volume in enumerate(read(config(phantom=phantom))):
        label = f"{name}_{number}"
        volumes.append(dataclasses.replace(volume, name=label, subject=label))
    prepared.write_folder(volumes, tmp_path / "out", {})
  return experiment


@pytest.mark.slow
def test_training_from_files_and_from_memory_ends_alike(tmp_path):
  """Two shapes, a frozen teacher's hints, the report."""
  ends = {}
  for name, memory in (("files", 0), ("memory", 100)):
    experiment = two_shapes(tmp_path)
    experiment.data.memory_mb = memory
    pipeline = Experiment(config_lib.parse(experiment), tmp_path / name)
    assert stored.is_stored(pipeline.dataset.train.parts[0].target) == (memory == 0)
    train(pipeline)
    ends[name] = [final(tmp_path / name, stage) for stage in ("teacher", "kd")]
    if name == "files":
      report = write_reports.write_reports([pipeline])[0].path.with_name("report.json")
  for from_files, from_memory in zip(*ends.values(), strict=True):
    assert_same_end(from_files, from_memory)
  experiment.data.memory_mb = 0  # a run goes on where the slices are now
  Experiment(config_lib.parse(experiment), tmp_path / "memory").claim(["kd"])
  found = json.loads(report.read_text())
  assert [row["psnr"]["n"] for row in found["rows"]] == [2] * 3
  for name, shape in (("tall_5", (2, 24, 20)), ("wide_2", (2, 20, 28))):
    with h5py.File(tmp_path / "files" / "seed_42/kd/results" / f"{name}.h5") as file:
      assert file["reconstruction"].shape == shape


@pytest.mark.slow
def test_many_steps_a_dispatch_with_two_shapes_and_cached_hints(tmp_path):
  lines = {}
  for at_once in (1, 2):
    experiment = two_shapes(tmp_path, steps_per_dispatch=at_once)
    experiment.update(devices=1, batch_size=2)
    experiment.data.memory_mb = 100
    pipeline = Experiment(config_lib.parse(experiment), tmp_path / str(at_once))
    train(pipeline)
    found = log.read(pipeline.workdir.stage("kd") / "metrics.jsonl")
    lines[at_once] = [{**x["train"], **x["validation"]} for x in found]
  for singly, together in zip(*lines.values(), strict=True):
    assert singly == pytest.approx(together, rel=1e-3)


def test_a_shape_of_the_validation_alone_is_tried_first(tmp_path):
  experiment = two_shapes(tmp_path)
  experiment.data.update(train=("tall_?",), validation=("wide_2",))
  experiment.mask.kind = "full"
  experiment.stages.teacher.terms.reconstruction.loss = "ssim"
  Experiment(config_lib.parse(experiment), tmp_path / "run")
  (tmp_path / "out" / "wide_2.h5").unlink()
  small = dataclasses.replace(config().phantom, size=(6, 28), subjects=1, slices=1)
  volumes = [
    dataclasses.replace(volume, name="wide_2", subject="wide_2")
    for volume in read(config(phantom=small))
  ]
  prepared.write_folder(volumes, tmp_path / "small", {})
  (tmp_path / "small" / "wide_2.h5").rename(tmp_path / "out" / "wide_2.h5")
  with pytest.raises(UserError, match=r"teacher.terms.reconstruction: found"):
    Experiment(config_lib.parse(experiment), tmp_path / "run")


@pytest.mark.slow
def test_each_shape_is_compiled_once(tmp_path):
  experiment = two_shapes(tmp_path)
  experiment.devices = 1
  pipeline = Experiment(config_lib.parse(experiment), tmp_path / "run")
  plans, slices = pipeline.plans, pipeline.plans.slices("teacher", "train")
  optimiser = make_optimiser(pipeline.config.stages["teacher"], 1)
  steps = step.make_steps(plans.networks["teacher"], optimiser, pipeline.devices)
  state = step.init_state(pipeline.initial_params("teacher"), {}, optimiser)
  state = parallel.replicate(state, pipeline.devices)
  teacher = parallel.replicate(Teacher(error_range=np.float32(0)), pipeline.devices)
  for epoch in range(2):
    order = batches.epoch_order(batches.counts(slices), 4, 0, epoch)
    for batch in batches.load(slices, order):
      measured = pipeline.dataset.acquisitions[batch.target.shape[1:3]]
      state, _ = steps.train(state, teacher, batch, measured)
  assert steps.train._cache_size() == 2
  assert int(jax.device_get(state.step)) == 2 * len(order)
