"""K-space of several coils as sources give it to training, in memory and in files."""

import dataclasses

import h5py
import numpy as np
import pytest
from helpers import coil_files
from helpers.coil_files import settings
from helpers.data_files import all_sampled, config, measured_by

import kdmri_jax as kd
from kdmri_jax.config import CoilsConfig, MaskConfig, TaskConfig
from kdmri_jax.data import dataset, load, read, slice_set, spool
from kdmri_jax.data.sources import prepared
from kdmri_jax.data.stored import is_stored
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.physics import acquisition, fourier
from kdmri_jax.training import batches
from kdmri_jax.training.stage_networks import complete

pytestmark = pytest.mark.usefixtures("quick_compilation")

MASK = kd.masks.cartesian((24, 20), 2, 8, axis=1)


def ratio(found, expected):
  """The factor between two arrays that are equal up to one."""
  scale = np.vdot(expected, found) / np.vdot(expected, expected)
  np.testing.assert_allclose(found, scale * expected, atol=2e-5 * abs(found).max())
  return scale


@pytest.mark.parametrize("method", ["espirit", "low_resolution", "given"])
@pytest.mark.parametrize("source", coil_files.WRITERS)
def test_zero_filled_is_a_h_y_of_the_file(tmp_path, source, method):
  written = coil_files.subjects(source, tmp_path)
  found = load(settings(source, tmp_path, sensitivities=method), measured_by(MASK))
  assert found.record["stored_kspace_used"] and not found.record["simulated_kspace"]
  for split in (found.train, found.validation):
    (volume,), (slices,) = split.volumes, split.parts
    images, maps = written[int(volume.subject[-1]) - 1]
    if source == "calgary_multi":  # whose last columns were not acquired
      shifted = np.fft.fftshift(np.fft.fft2(images), (-2, -1))
      shifted[..., 17:] = 0
      images = np.fft.ifft2(np.fft.ifftshift(shifted, (-2, -1)))
    own = slices.sensitivities
    root = np.sqrt((np.abs(own) ** 2).sum(1))
    np.testing.assert_allclose(root[root > 0], 1, atol=1e-5)
    if method == "given":
      np.testing.assert_allclose(own, maps, atol=1e-5)
    target = slices.target[..., 0] + 1j * slices.target[..., 1]
    scale = ratio(target, (own.conj() * images).sum(1)).real
    batch = complete(slices, found.acquisitions[24, 20])
    kspace = MASK * np.fft.fft2(images, norm="ortho") * scale
    np.testing.assert_allclose(batch.measurement.kspace, kspace, atol=1e-5)
    zero_filled = (own.conj() * np.fft.ifft2(kspace, norm="ortho")).sum(1)
    expected = np.stack([zero_filled.real, zero_filled.imag], -1)
    np.testing.assert_allclose(batch.zero_filled, expected, atol=1e-5)
    assert np.abs(expected - slices.target).max() > 0.05


@pytest.mark.parametrize("source", ["fastmri", "ismrmrd", "bart", "arrays"])
def test_one_coil_is_as_without_the_setting(tmp_path, source):
  coil_files.subjects(source, tmp_path, coils=1)
  kept, plain = (
    load(settings(source, tmp_path, combine=way), measured_by(MASK))
    for way in ("none", "")
  )
  assert kept.fingerprint() == plain.fingerprint()
  assert kept.train.parts[0].sensitivities is None


def test_prepared_coils_stay_in_their_files(tmp_path):
  """One slice of each array is in memory, however many there are."""
  coil_files.subjects("fastmri", tmp_path / "raw")
  raw = settings("fastmri", tmp_path / "raw")
  for volume in dataset.read(raw):
    assert {*map(type, (volume.kspace, volume.sensitivities))} == {spool.Spool}
  prepared.write_folder(dataset.read(raw), tmp_path / "out", {})
  direct = load(raw, measured_by(MASK))
  found = [
    load(
      config(
        source="prepared",
        root=str(tmp_path / "out"),
        memory_mb=memory,
        validation_fraction=0.5,
      ),
      measured_by(MASK),
    )
    for memory in (0, 100)
  ]
  for other, stays in zip(found, (True, False), strict=True):
    assert is_stored(other.train.parts[0].kspace) == stays
    assert other.fingerprint()["train_digest"] == direct.fingerprint()["train_digest"]
    rows = batches.load(other.train.parts, batches.in_order([2], 1))
    for k, slices in enumerate(rows):
      for name in ("target", "kspace", "sensitivities"):
        own = getattr(direct.train.parts[0], name)[k : k + 1]
        np.testing.assert_array_equal(getattr(slices, name), own)


def test_files_of_different_numbers_of_coils(tmp_path):
  """Each number of coils is a part of its own, with the slices of its files."""
  for numbers, coils in (((1, 3, 5), 4), ((2, 4, 6), 3)):
    coil_files.subjects("fastmri", tmp_path / str(coils), numbers, coils=coils)
    coil_files.subjects("fastmri", tmp_path / "both", numbers, coils=coils)
  found = load(settings("fastmri", tmp_path / "both"), measured_by(MASK))
  assert (found.record["coils"], found.record["coil_numbers"]) == (4, [3, 4])
  assert list(found.record["shapes"]) == ["24x20"]
  assert sum(found.record["shapes"]["24x20"].values()) == 12
  alone = {
    volume.name: volume.in_memory()
    for coils in (3, 4)
    for volume in read(settings("fastmri", tmp_path / str(coils)))
  }
  for split in (found.train, found.validation):
    assert [part.kspace.shape[1] for part in split.parts] == [3, 4]
    order = batches.in_order(batches.counts(split.parts), 2)
    shapes = [batch.kspace.shape[1:] for batch in batches.load(split.parts, order)]
    assert set(shapes) == {(3, 24, 20), (4, 24, 20)}
    for volume, (part, start, stop) in zip(split.volumes, split.spans, strict=True):
      own = alone.pop(volume.name)
      for name in ("kspace", "sensitivities"):
        rows = getattr(split.parts[part], name)[start:stop]
        np.testing.assert_array_equal(rows, getattr(own, name))
  assert not alone


def test_too_many_shapes_and_numbers_of_coils_are_refused():
  def volume(size, coils):
    of_coils = np.zeros((1, coils, 4, size), np.complex64)
    return Volume("a", "a", of_coils[:, 0], of_coils, sensitivities=of_coils)

  volumes = [volume(size, coils) for size in (4, 5) for coils in range(2, 11)]
  assert slice_set.shapes_of(volumes[:16]) == [(4, 4), (4, 5)]
  match = (
    r"found slices of \(4, 5\) and 9 coils, of which there are 18 combinations of .*"
    r"at most 16 .*crop=\(4,5\)\. Choose files of fewer numbers of coils"
  )
  with pytest.raises(UserError, match=match):
    slice_set.shapes_of(volumes)


@pytest.mark.parametrize("memory", [0, 100])
@pytest.mark.parametrize("name", ["kspace", "sensitivities"])
def test_prepared_coils_that_differ_in_number_are_refused(tmp_path, name, memory):
  coil_files.subjects("fastmri", tmp_path / "raw", [1])
  raw = dataset.read(settings("fastmri", tmp_path / "raw"))
  prepared.write_folder(raw, tmp_path / "out", {})
  with h5py.File(tmp_path / "out" / "1.h5", "r+") as file:
    fewer = file[name][:, :3]
    del file[name]
    file[name] = fewer
  again = config(source="prepared", root=str(tmp_path / "out"), memory_mb=memory)
  with pytest.raises(UserError, match=r"1\.h5: found .*shape"):
    list(dataset.read(again))


def test_crop_and_slices_are_those_of_the_images(tmp_path):
  ((images, maps),) = coil_files.subjects("fastmri", tmp_path, [1], shape=(3, 24, 20))
  asked = {"crop": (12, 20), "slices_per_volume": 1, "sensitivities": "given"}
  (volume,) = dataset.read(settings("fastmri", tmp_path, **asked))
  volume = volume.in_memory()
  expected = images[1:2, :, 6:18] / volume.record["scale_factor"]
  np.testing.assert_allclose(
    np.fft.ifft2(volume.kspace, norm="ortho"), expected, atol=1e-5
  )
  np.testing.assert_allclose(volume.sensitivities, maps[1:2, :, 6:18], atol=1e-6)
  assert volume.target.shape == (1, 12, 20)


def test_noise_and_tasks_measure_the_kspace_of_the_file(tmp_path):
  coil_files.subjects("fastmri", tmp_path)
  (slices,) = load(settings("fastmri", tmp_path), all_sampled).train.parts
  masks = np.stack([MASK, np.ones_like(MASK)])
  both = acquisition.Acquisition(masks, np.float32([[np.inf] * 2, [20, 20]]))
  slices = slices._replace(task=np.int32([0, 1]), draws=np.uint32([3, 4]))
  first, second = complete(slices, both).measurement.kspace
  np.testing.assert_allclose(first, MASK * slices.kspace[0], atol=1e-6)
  difference = np.abs(second - slices.kspace[1])
  assert 0 < difference.mean() < 0.2 * np.abs(slices.kspace[1]).max()


def test_one_coil_of_sensitivity_1_is_measured_bit_for_bit_as_the_image():
  rng = np.random.default_rng(0)
  target = rng.normal(size=(2, 24, 20, 2)).astype(np.float32)
  own = acquisition.Acquisition(MASK[None])
  expected, measurement = acquisition.measure(target, own)
  kspace = fourier.fft2(fourier.to_complex(target))[:, None]
  coils = kspace, np.ones_like(kspace)
  found, of_coils = acquisition.measure(target, own, coils=coils)
  np.testing.assert_array_equal(found, expected)
  np.testing.assert_array_equal(of_coils.kspace[:, 0], measurement.kspace)


@pytest.mark.parametrize(("method", "told"), [("espirit", True), ("given", False)])
def test_more_calibration_than_the_mask_samples_is_told(tmp_path, method, told):
  coil_files.subjects("fastmri", tmp_path)
  found = load(settings("fastmri", tmp_path, sensitivities=method), measured_by(MASK))
  notes = [note for note in found.record["notes"] if "less accurate" in note]
  assert bool(notes) == told
  assert all("24 central lines" in note and "samples 8 of" in note for note in notes)


def refused(match, **changes):
  with pytest.raises(UserError, match=match):
    load(settings(**changes), measured_by(MASK))


def test_bad_coils_are_refused(tmp_path):
  coil_files.subjects("fastmri", tmp_path, [1])
  coil_files.subjects("fastmri", tmp_path, [2], coils=1)
  own = {"source": "fastmri", "root": tmp_path}
  refused(
    r"found k-space of (one|4) coil.*expected k-space of .*(one|4) coil.*, as in .*h5",
    **own,
  )
  maps = np.ones((2, 4, 24, 19), np.complex64)
  np.save(tmp_path / "1_sens.npy", maps)
  refused(
    r"1_sens\.npy: found complex64 numbers of shape \(4, 24, 19\) for slice 0; "
    r"expected complex numbers in the shape of its k-space, \(4, 24, 20\)",
    sensitivities="given",
    **own,
  )
  (tmp_path / "1_sens.npy").unlink()
  refused(r"1_sens\.npy: found no such file", sensitivities="given", **own)
  refused(
    r"sensitivities: found 'given', with combine='rss'",
    sensitivities="given",
    **own | {"combine": "rss"},
  )
  with h5py.File(tmp_path / "1.h5", "r+") as file:
    middle = file["kspace"][0, 0, 12, 10]
    file["kspace"][0, 0, 12, 10] = np.nan
  for method in ("espirit", "low_resolution"):
    refused(
      r"1\.h5: found NaN or infinite values in slice 0; expected finite",
      sensitivities=method,
      **own,
    )
  with h5py.File(tmp_path / "1.h5", "r+") as file:
    file["kspace"][0, 0, 12, 10] = middle
    file["kspace"][..., 11:14, 9:12] = 0
  refused(
    r"1\.h5: found a fully sampled centre of 0x0 in slice 0; expected calib", **own
  )


def test_measured_and_simulated_coils_exclude_each_other(tmp_path):
  coil_files.subjects("fastmri", tmp_path)
  with pytest.raises(UserError, match="found measured and simulated coils"):
    load(
      settings("fastmri", tmp_path),
      lambda shape: acquisition.build(
        {"": TaskConfig(MaskConfig("full"))}, shape, CoilsConfig(4)
      ),
    )


def test_a_test_source_may_have_coils_of_its_own_beside_simulated_ones(tmp_path):
  for name, numbers in (("train", (1, 2, 3)), ("test", (8, 9))):
    coil_files.subjects("fastmri", tmp_path / name, numbers, coils=3)
  config = settings("fastmri", tmp_path / "train", combine="rss")
  own = dataclasses.replace(
    config.test_source, source="fastmri", root=str(tmp_path / "test"), combine="none"
  )
  found = load(
    dataclasses.replace(config, test_source=own),
    lambda shape: acquisition.build(
      {"": TaskConfig(MaskConfig("full"))}, shape, CoilsConfig(4)
    ),
  )
  assert found.train.parts[0].kspace is None
  assert found.acquisitions[24, 20].sensitivities.shape == (1, 4, 24, 20)
  tested = found.test.parts[0]
  assert tested.kspace.shape == tested.sensitivities.shape == (4, 3, 24, 20)


def test_images_get_the_same_phase_in_memory_and_in_files(tmp_path):
  phantoms = config(source="phantom")
  prepared.write_folder(read(phantoms), tmp_path, {})
  held, stored = (
    load(
      dataclasses.replace(
        phantoms, source="prepared", root=str(tmp_path), memory_mb=memory
      ),
      lambda shape: acquisition.build(
        {"": TaskConfig(MaskConfig("full"))}, shape, CoilsConfig(2)
      ),
      2.0,
    ).train.parts[0]
    for memory in (1000, 0)
  )
  assert is_stored(stored.target) and not is_stored(held.target)
  np.testing.assert_array_equal(stored.target[:], held.target)
  values = held.target.view(np.complex64)[..., 0]
  assert (np.abs(np.angle(values[values != 0])) > 1).any()


def test_more_than_the_memory_is_refused_before_it_is_read(tmp_path):
  coil_files.subjects("fastmri", tmp_path)
  refused(
    r"found images that together need more memory than memory_mb=0; .*Prepare",
    source="fastmri",
    root=tmp_path,
    memory_mb=0,
  )
