"""Training on k-space of simulated coils, and its report."""

import json
import re

import h5py
import jax
import numpy as np
import pytest
from helpers import coil_files, ismrmrd_files
from helpers.data_files import config as data_settings
from helpers.raw_files import to_kspace
from helpers.tiny import tiny_config, train

import kdmri_jax as kd
from kdmri_jax import config as config_lib
from kdmri_jax import models
from kdmri_jax.data import read, spool
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.sources import prepared
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.inference import load, read_scan, reconstruct
from kdmri_jax.inference.network import Network
from kdmri_jax.physics import acquisition
from kdmri_jax.report import write_reports
from kdmri_jax.training import records
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.types import CoilMeasurement

pytestmark = pytest.mark.usefixtures("quick_compilation")


NAMES = ["zero_filled", "cg_sense", "student"]


def reported(pipeline):
  """The numbers of the report, after the training of the student."""
  assert train(pipeline, ["student"])
  (report,) = write_reports.write_reports([pipeline])
  found = json.loads(report.path.with_name("report.json").read_text())
  assert [row["model"] for row in found["rows"]] == NAMES and not found["failed"]
  return found


def with_coils(**changes):
  config = tiny_config(epochs=1, coils={"count": 4, "seed": 1}, **changes)
  for model in config.models.values():
    model.channels = 2
  return config


@pytest.mark.slow
def test_a_stage_and_the_report(tmp_path):
  """Real images get a phase; the input is that of all coils."""
  asked = {"robustness": {"axes": (1,), "perturbations": (0.05,), "steps": 3}}
  pipeline = Experiment(config_lib.parse(with_coils(evaluation=asked)), tmp_path)
  found = reported(pipeline)
  _, axis, random, worst = (row["means"]["psnr"] for row in found["robustness"]["rows"])
  assert list(axis) == list(random) == NAMES
  assert worst["student"] < random["student"] - 0.05 and list(worst) == ["student"]
  volume, mask = (
    pipeline.dataset.test.volumes[0],
    pipeline.dataset.acquisitions[24, 20].masks[0],
  )
  assert np.abs(np.angle(volume.target)).max() > 0.5
  with h5py.File(pipeline.workdir.results("cg_sense") / f"{volume.name}.h5") as file:
    written = file["reconstruction"][()]
  maps = kd.coils.simulate((24, 20), 4, 1)
  kspace = kd.coils.forward(volume.target, maps, mask)
  expected = np.abs(kd.coils.cg_sense(kspace, maps, mask))
  np.testing.assert_allclose(written, expected, atol=1e-4)
  trained = load.load(tmp_path, "student", (24, 20))
  assert trained.acquisition.sensitivities.shape == (1, 4, 24, 20)
  images = coil_files.coil_images(1)[0].sum(1)
  kspace = (np.fft.fft2(images, norm="ortho") * mask).astype(np.complex64)
  one = Measured(kspace, mask, {"file": "of one coil"})
  result = reconstruct.run_scan(tmp_path, "student", one)
  assert set(result.images) == {
    "reconstruction",
    "zero_filled",
  }  # no coils, no CG-SENSE


def separately_calibrated(folder):
  """A file of ISMRM raw data: every second line, and twelve that only calibrate."""
  kspace = to_kspace(coil_files.coil_images(1)[0])
  lines = ismrmrd_files.readouts(kspace[:, :, ::2])
  for each in lines:
    each.idx.kspace_encode_step_1 *= 2
  lines += ismrmrd_files.readouts(
    kspace[:, :, 6:18], first=6, flags=("PARALLEL_CALIBRATION",)
  )
  head = ismrmrd_files.header((20, 24), (20, 24), calibration="separate")
  ismrmrd_files.save(folder / "separate.mrd", head, lines)
  return folder / "separate.mrd"


@pytest.mark.slow
def test_a_run_on_the_kspace_of_files(tmp_path):
  """Slices that stay in their files, two numbers of coils, and another mask."""
  coil_files.subjects("fastmri", tmp_path / "raw", (1, 2))
  coil_files.subjects("fastmri", tmp_path / "raw", (3, 4), coils=3)
  found = read(
    data_settings(source="fastmri", root=str(tmp_path / "raw"), combine="none")
  )
  prepared.write_folder(found, tmp_path / "data", {})
  config = with_coils(evaluation={"robustness": {"axes": (1,)}})
  config.update(coils={"count": 0}, batch_size=2)
  config.data.update(source="prepared", root=str(tmp_path / "data"), memory_mb=0)
  pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  found = reported(pipeline)
  ((axis,),) = [found["robustness"]["rows"][1:]]
  assert list(axis["means"]["psnr"]) == NAMES
  data = pipeline.dataset
  page = (tmp_path / "run" / "report" / "index.html").read_text()
  assert "It has 3 to 4 coils, with sensitivities estimated by ESPIRiT" in page
  volume, (part, start, stop) = data.test.volumes[0], data.test.spans[0]
  slices = data.test.parts[part]
  mask = data.acquisitions[24, 20].masks[0]
  with h5py.File(pipeline.workdir.results("cg_sense") / f"{volume.name}.h5") as file:
    written = file["reconstruction"][()]
  expected = kd.coils.cg_sense(
    slices.kspace[start:stop], slices.sensitivities[start:stop], mask
  )
  np.testing.assert_allclose(written, np.abs(expected), atol=1e-4)
  settings = load.read_config(tmp_path / "run").data
  options = {"combine": "none", "sensitivities": "given"}
  whole = read_scan.read(
    tmp_path / "raw" / "1.h5", settings, source="fastmri", **options
  )
  result = reconstruct.run_scan(tmp_path / "run", "student", whole)
  assert set(result.images) == {"reconstruction", "zero_filled", "cg_sense", "target"}
  kept = map(spool.in_memory, (whole.kspace, whole.sensitivities))
  np.testing.assert_allclose(
    result.images["cg_sense"], np.abs(kd.coils.cg_sense(*kept, mask)), atol=1e-4
  )
  assert set(result.account.quality) == {"input", "CG-SENSE", "output"}
  assert result.account.facts["coils"] == "4, with sensitivities that are given"
  told = "In 1 file, such as .*1.h5, the phase-encode lines are columns"
  assert any(re.search(told, text) for text in result.account.warnings)
  path = coil_files.write("bart", tmp_path, 1, *coil_files.coil_images(1), mask)
  scan = read_scan.read(path, settings, contrast="kspace", **options)
  of_scan = reconstruct.run_scan(tmp_path / "run", "student", scan).images
  np.testing.assert_allclose(
    of_scan["zero_filled"], result.images["zero_filled"], atol=1e-4
  )
  own = read_scan.read(separately_calibrated(tmp_path), settings, combine="none")
  told = reconstruct.run_scan(tmp_path / "run", "student", own).account.facts["coils"]
  assert told == (
    "4, with sensitivities that are estimated from the scan (espirit). "
    "Separate calibration lines are used: their fully sampled centre has 12x20 points, "
    "that of the image 1x20."
  )
  one = read_scan.read(path, settings, contrast="kspace", combine="sense")
  warnings = reconstruct.run_scan(tmp_path / "run", "student", one).account.warnings
  assert any(
    "one coil; the network was trained on that of several" in w for w in warnings
  )


@pytest.mark.slow
def test_a_run_on_simulated_coils_is_tested_on_the_kspace_of_files(tmp_path):
  images = coil_files.subjects("fastmri", tmp_path / "raw", (8, 9))
  files = dict(source="fastmri", root=str(tmp_path / "raw"))
  files |= dict(combine="none", sensitivities="given")
  asked = {"robustness": {"sources": {"scans": files}}}
  config = with_coils(evaluation=asked)
  config.data.test_source.update(files)
  pipeline = Experiment(config_lib.parse(config), tmp_path / "run")
  own, scans = (
    row["means"]["psnr"] for row in reported(pipeline)["robustness"]["rows"]
  )
  assert list(scans) == NAMES and scans == pytest.approx(own, rel=1e-5)
  mask = pipeline.dataset.acquisitions[24, 20].masks[0]
  for volume, (seen, maps) in zip(pipeline.dataset.test.volumes, images, strict=True):
    kspace = np.fft.fft2(seen, norm="ortho") * (mask != 0)
    with h5py.File(pipeline.workdir.results("cg_sense") / f"{volume.name}.h5") as file:
      written = file["reconstruction"][()]
    expected = np.abs(kd.coils.cg_sense(kspace, maps, mask))
    scale = np.abs((np.conj(maps) * seen).sum(1)).max()
    np.testing.assert_allclose(written, expected / scale, atol=1e-4)


def test_coils_measure_with_their_noise_and_need_two_channels(tmp_path):
  mask, noise = config_lib.MaskConfig("full"), config_lib.NoiseConfig((20.0, 20.0))
  coils = config_lib.CoilsConfig(3, 2)
  task = {"": config_lib.TaskConfig(mask, noise)}
  acquired = acquisition.build(task, (24, 20), coils)
  maps = kd.coils.simulate((24, 20), 3, 2)
  np.testing.assert_array_equal(acquired.sensitivities, maps[None])
  target = np.ones((8, 24, 20, 2), np.float32) / np.sqrt(2)
  draws = np.arange(8, dtype=np.uint32)
  zero_filled, measurement = acquisition.measure(target, acquired, draws=draws)
  assert isinstance(measurement, CoilMeasurement)
  error = np.asarray(measurement.kspace) - kd.coils.forward(
    target[..., 0] + 1j * target[..., 1], maps, np.ones((24, 20))
  )
  for part in (error.real, error.imag, np.asarray(zero_filled) - target):
    assert np.std(part) == pytest.approx(1 / 20, rel=0.05)
  each = error.transpose(1, 0, 2, 3).reshape(3, -1)
  assert np.abs(np.corrcoef(each) - np.eye(3)).max() < 0.05
  silent = acquisition.build({"": config_lib.TaskConfig(mask)}, (24, 20), coils)
  found, _ = acquisition.measure(target, silent)
  np.testing.assert_allclose(found, target, atol=1e-5)
  with pytest.raises(UserError, match="channels: found 1, with 4 coils"):
    config = tiny_config(coils={"count": 4, "seed": 1})
    Experiment(config_lib.parse(config), tmp_path)


def test_a_record_without_coils_is_one_of_none(tmp_path):
  pipeline = Experiment(config_lib.parse(tiny_config()), tmp_path)
  record = records.describe(pipeline.config, pipeline.data, 42, "student", lambda n: "")
  known = {"count": 0, "seed": 0, "phase": 3.0}
  assert record["coils"] == known
  del record["coils"]
  assert records.completed(record)["coils"] == known


def test_a_record_of_coils_without_a_phase_is_one_of_images_without():
  record = records.completed({"coils": {"count": 8, "seed": 0}})
  assert record["coils"] == {"count": 8, "seed": 0, "phase": 0.0}


@pytest.fixture(scope="module")
def network():
  config = config_lib.parse(with_coils())
  model = models.build(config.models["student"], kd.masks.cartesian((24, 20), 3, 4))
  empty = np.zeros((1, 24, 20, 2), np.float32)
  measured = kd.undersample(empty, np.ones((24, 20)))[1]
  params = jax.jit(model.init)(jax.random.key(0), empty, measured)
  return Network(config, "student", model, params["params"])


@pytest.mark.parametrize("each", [False, True])
def test_a_network_reconstructs_kspace_of_coils_in_any_unit(network, each):
  rng = np.random.default_rng(0)
  image = rng.random((2, 24, 20)) * np.exp(1j * rng.random((2, 24, 20)))
  maps, mask = kd.coils.simulate((24, 20), 3), kd.masks.cartesian((24, 20), 3, 4)
  maps = np.stack([maps, maps[::-1]]) if each else maps
  zero_filled, measured = kd.undersample(image, mask, maps)
  divisor = np.abs(zero_filled).max()
  measured = measured._replace(kspace=measured.kspace / divisor)
  expected = divisor * network.apply(zero_filled / divisor, measured)
  kspace = 1e-3 * divisor * np.asarray(measured.kspace)
  found = network.reconstruct(kspace, mask, maps)
  assert found.dtype == np.complex64
  np.testing.assert_allclose(1e3 * found, expected, atol=2e-4)
  one = network.reconstruct(kspace[1], mask, maps[1] if each else maps)
  assert one.shape == (24, 20)


def test_sensitivities_that_do_not_fit_are_refused(network):
  maps, mask = kd.coils.simulate((24, 20), 3), np.ones((24, 20))
  with pytest.raises(ArgumentError, match=r"^sensitivities: found complex64 of shape"):
    network.reconstruct(maps, mask, maps[:2])
  with pytest.raises(
    ArgumentError, match=r"^kspace: found .*C, H, W\] or \[S, C, H, W"
  ):
    network.reconstruct(maps[0], mask, maps)
