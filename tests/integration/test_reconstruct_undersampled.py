"""Undersampled k-space in every format, of one coil and of several."""

import h5py
import numpy as np
import pytest
from helpers.centred import dft
from helpers.data_files import config
from helpers.ismrmrd_files import header, readout, save
from helpers.scan_files import (
  PHANTOM,
  SHAPE,
  bart_order,
  read,
  run,
  save_cfl,
  save_fastmri,
  student,
)
from scipy import io

from kdmri_jax.data.measured import Measured
from kdmri_jax.data.sources import fastmri
from kdmri_jax.errors import UserError
from kdmri_jax.inference import load, reconstruct

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return student(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def mask(workdir):
  """The run's own, uncentred; only the columns are phase-encoded."""
  mask = load.load(workdir, "student", SHAPE[1:]).acquisition.masks[0]
  assert (mask == mask[:1]).all() and 0 < mask.mean() < 0.7
  return mask


@pytest.fixture(scope="module")
def kspace(mask):
  """Uncentred and undersampled."""
  return (np.fft.fft2(PHANTOM, norm="ortho") * mask).astype(np.complex64)


@pytest.fixture(scope="module")
def of_kspace(workdir, kspace, tmp_path_factory):
  """The reconstruction from an h5 file of the plain layout."""
  path = tmp_path_factory.mktemp("kspace") / "a.h5"
  with h5py.File(path, "w") as file:
    file["kspace"] = kspace
  return run(workdir, read(path))


def centred(phantom, mask, coils=(1,)):
  """Undersampled k-space of uniformly sensitive coils [S, C, H, W], centred."""
  weights = np.array(coils)[:, None, None]
  full = dft(phantom[:, None] * weights.astype(complex), 2, 3)
  return full * np.fft.fftshift(mask)


def undersampled_fastmri(folder, phantom, mask):
  columns = np.fft.fftshift(mask[0]).astype(np.float32)
  save_fastmri(folder / "f.h5", centred(phantom, mask)[:, 0], mask=columns)
  return folder / "f.h5", {}


def undersampled_cfl(folder, phantom, mask):
  save_cfl(folder / "a.cfl", bart_order(centred(phantom, mask)))
  return folder / "a.cfl", {"contrast": "kspace"}


def undersampled_npy(folder, phantom, mask):
  np.save(folder / "a.npy", np.fft.fft2(phantom, norm="ortho") * mask)
  return folder / "a.npy", {"contrast": "kspace"}


def undersampled_kdmri(folder, phantom, mask):
  kspace = np.fft.fft2(phantom, norm="ortho") * mask
  with h5py.File(folder / "1.h5", "w") as file:
    file["kspace_volus_5x"] = np.moveaxis(kspace, 0, 2)
  return folder / "1.h5", {}


def undersampled_knee(folder, phantom, mask):
  for k, own in enumerate(centred(phantom, mask)):
    io.savemat(folder / f"rawdata{k + 8}.mat", {"rawdata": np.moveaxis(own, 0, 2)})
  return folder, {}


UNDERSAMPLED = [undersampled_fastmri, undersampled_cfl, undersampled_npy]
UNDERSAMPLED += [undersampled_kdmri, undersampled_knee]


@pytest.mark.parametrize("save", UNDERSAMPLED)
def test_undersampled_files_give_the_same(
  workdir, mask, kspace, of_kspace, tmp_path, save
):
  path, options = save(tmp_path, PHANTOM, mask)
  scan = read(path, **options)
  np.testing.assert_allclose(scan.kspace, kspace, atol=1e-2)
  assert scan.mask is None or np.array_equal(scan.mask, mask)
  found = run(workdir, scan)
  assert set(found) == {"reconstruction", "zero_filled"}
  expected = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  np.testing.assert_allclose(found["zero_filled"], expected, rtol=1e-3, atol=1e-2)
  for key, images in found.items():
    np.testing.assert_allclose(images, of_kspace[key], rtol=1e-4, atol=5e-2)


def test_one_slice_of_an_undersampled_knee(mask, kspace, tmp_path):
  undersampled_knee(tmp_path, PHANTOM, mask)
  scan = read(tmp_path / "rawdata9.mat")
  np.testing.assert_allclose(scan.kspace, kspace[1:2], atol=1e-2)


LINES = [0, 3, 4, 5, 6, 9]


def save_ismrmrd(path, lines, *, first=0, limits=None, weights=(1,), **fields):
  """Some phase-encode lines of k-space of uniformly sensitive coils."""
  full = centred(PHANTOM, np.ones(SHAPE[1:]), weights)
  acquisitions = [
    readout(full[k, :, line], first + line, k, **fields)
    for k in range(SHAPE[0])
    for line in lines
  ]
  matrix = SHAPE[:0:-1]
  head = header(matrix, matrix, limits, calibration="embedded")
  save(path, head, acquisitions)


def rows(lines):
  """The mask of these lines, uncentred, and what it leaves of the phantom's k-space."""
  mask = np.zeros(SHAPE[1:], np.uint8)
  mask[list(lines)] = 1
  mask = np.fft.ifftshift(mask)
  return mask, np.fft.fft2(PHANTOM, norm="ortho") * mask


def test_missing_lines_of_ismrmrd_are_the_mask(workdir, tmp_path):
  save_ismrmrd(tmp_path / "a.h5", LINES)
  scan = read(tmp_path / "a.h5")
  mask, kspace = rows(LINES)
  np.testing.assert_array_equal(scan.mask, mask)
  np.testing.assert_allclose(scan.kspace, kspace, atol=1e-2)
  assert scan.record["zooms"] == [2, 2, 5] and scan.header.text.startswith("<?xml")
  expected = np.abs(np.fft.ifft2(kspace, norm="ortho"))
  np.testing.assert_allclose(
    run(workdir, scan)["zero_filled"], expected, rtol=1e-3, atol=1e-2
  )


def test_embedded_calibration_lines_of_ismrmrd_count(tmp_path):
  save_ismrmrd(tmp_path / "a.h5", [0, 2, 4, 6, 8])
  save_ismrmrd(tmp_path / "a.h5", [3, 5], flags=("PARALLEL_CALIBRATION",))
  mask, kspace = rows([0, 2, 3, 4, 5, 6, 8])
  scan = read(tmp_path / "a.h5")
  np.testing.assert_array_equal(scan.mask, mask)
  np.testing.assert_allclose(scan.kspace, kspace, atol=1e-2)


@pytest.mark.parametrize(
  ("lines", "limits"), [(range(4, 10), (4, 9, 5)), (range(7), (0, 6, 5))]
)
def test_partial_fourier_of_ismrmrd_reaches_as_far_on_both_sides(
  tmp_path, lines, limits
):
  save_ismrmrd(tmp_path / "a.h5", lines, limits=limits)
  mask, kspace = rows(lines)
  scan = read(tmp_path / "a.h5")
  np.testing.assert_array_equal(scan.mask, mask)
  np.testing.assert_allclose(scan.kspace, kspace, atol=1e-2)


def test_coils_of_ismrmrd(tmp_path):
  weights = (0.6, 0.8j)
  save_ismrmrd(tmp_path / "a.mrd", LINES, weights=weights)
  with pytest.raises(UserError, match=r"a.mrd: .* of 2 coils.*a_sens.npy"):
    read(tmp_path / "a.mrd")
  shape = (SHAPE[0], 2, *SHAPE[1:])
  maps = np.broadcast_to(np.array(weights)[:, None, None], shape)
  np.save(tmp_path / "a_sens.npy", maps)
  scan = read(tmp_path / "a.mrd", combine="sense")
  np.testing.assert_allclose(scan.kspace, rows(LINES)[1], atol=1e-2)


def test_slices_of_ismrmrd_sampled_differently(tmp_path):
  save_ismrmrd(tmp_path / "a.h5", LINES)
  full = centred(PHANTOM, np.ones(SHAPE[1:]))
  matrix = SHAPE[:0:-1]
  save(tmp_path / "a.h5", header(matrix, matrix), [readout(full[2, :, 7], 7, 2)])
  with pytest.raises(UserError, match=r"slice 0 without 9 of the points"):
    read(tmp_path / "a.h5")


def calgary_channels(mask, weights):
  """Centred k-space with the image's origin at [0, 0], interleaved channels."""
  full = np.fft.fftshift(np.fft.fft2(PHANTOM, norm="ortho"), axes=(1, 2))
  coils = (full * np.fft.fftshift(mask))[..., None] * np.array(weights)
  return np.stack([coils.real, coils.imag], -1).reshape(*SHAPE, -1)


def test_zeros_of_calgary_multi_are_the_mask(tmp_path):
  """The last 15% of the columns count as not sampled."""
  weights = (0.6, 0.8j)
  mask, _ = rows(LINES)
  with h5py.File(tmp_path / "e1s3_P1.h5", "w") as file:
    file["kspace"] = calgary_channels(mask, weights).astype(np.float32)
  with pytest.raises(UserError, match=r"of 2 coils.*e1s3_P1_sens.npy"):
    read(tmp_path / "e1s3_P1.h5")
  maps = np.broadcast_to(np.array(weights)[:, None, None], (SHAPE[0], 2, *SHAPE[1:]))
  np.save(tmp_path / "e1s3_P1_sens.npy", maps)
  scan = read(tmp_path / "e1s3_P1.h5", combine="sense")
  mask[:, 4] = 0
  np.testing.assert_array_equal(scan.mask, mask)
  expected = np.fft.fft2(PHANTOM, norm="ortho") * mask
  np.testing.assert_allclose(scan.kspace, expected, atol=1e-2)


def test_zeros_of_the_single_channel_of_calgary_are_the_mask(tmp_path):
  rng = np.random.default_rng(0)
  stored = rng.normal(size=(2, 256, 256, 2)).astype(np.float32)
  mask = rng.random((256, 256)) < 0.2
  stored *= mask[..., None]
  np.save(tmp_path / "e1s3_P1.npy", stored)
  scan = read(tmp_path / "e1s3_P1.npy")
  np.testing.assert_array_equal(scan.mask, mask)
  expected = (stored[..., 0] + 1j * stored[..., 1]) / 256**2
  np.testing.assert_allclose(scan.kspace, expected, atol=1e-9)


def test_the_centre_alone_is_not_fully_sampled(tmp_path):
  """But k-space with a narrow empty border is."""
  for width, measured in ((3, True), (7, False)):
    mask = np.zeros(SHAPE[1:])
    mask[:, :width] = 1
    mask = np.roll(mask, -(width // 2), 1)
    path, options = undersampled_cfl(tmp_path, PHANTOM, mask)
    scan = read(path, **options)
    assert isinstance(scan, Measured) == measured


def test_a_mask_that_the_file_contradicts_is_refused(workdir, mask, tmp_path):
  path, options = undersampled_cfl(tmp_path, PHANTOM, mask)
  scan = read(path, **options)
  np.save(tmp_path / "mask.npy", np.ones_like(mask))
  with pytest.raises(UserError, match=r"a.cfl: found k-space that is empty at"):
    reconstruct.run_scan(workdir, "student", scan, mask_path=tmp_path / "mask.npy")


@pytest.mark.parametrize("weights", [(0.6, 0.8j), (3 + 1j, -1)])
def test_coils_are_combined_by_their_sensitivities(mask, kspace, tmp_path, weights):
  """Uniform ones: then, and only then, the combination's k-space is exact."""
  coils = centred(PHANTOM, mask, weights)
  maps = np.broadcast_to(np.array(weights)[:, None, None], coils.shape)
  columns = np.fft.fftshift(mask[0]).astype(bool)
  save_fastmri(tmp_path / "f.h5", coils, mask=columns)
  save_cfl(tmp_path / "a.cfl", bart_order(coils))
  for name, sensitivities, options in (
    ("f.h5", "f_sens.npy", {}),
    ("a.cfl", "a_sens.cfl", {"contrast": "kspace"}),
  ):
    with pytest.raises(UserError, match=rf"of 2 coils.*{sensitivities}"):
      read(tmp_path / name, **options)
    with pytest.raises(UserError, match=rf"{sensitivities}: found no such file"):
      read(tmp_path / name, combine="sense", **options)
  np.save(tmp_path / "f_sens.npy", maps)
  save_cfl(tmp_path / "a_sens.cfl", bart_order(maps))
  for name, options in (("f.h5", {}), ("a.cfl", {"contrast": "kspace"})):
    scan = read(tmp_path / name, combine="sense", **options)
    np.testing.assert_allclose(scan.kspace, kspace, atol=1e-2)
    np.testing.assert_array_equal(scan.mask, mask)
    assert "approximates" in scan.record["note"]
  np.save(tmp_path / "f_sens.npy", maps[:2])
  with pytest.raises(UserError, match=r"f_sens.npy: found fewer slices than the k-sp"):
    read(tmp_path / "f.h5", combine="sense")
  np.save(tmp_path / "f_sens.npy", maps[:, :1])
  with pytest.raises(UserError, match=r"f_sens.npy: found complex128 .*\(1, 10, 9\)"):
    read(tmp_path / "f.h5", combine="sense")


def test_varying_sensitivities_by_the_definition(mask, tmp_path):
  rng = np.random.default_rng(3)
  maps = rng.normal(size=(3, 2, 10, 9)) + 1j * rng.normal(size=(3, 2, 10, 9))
  images = rng.normal(size=(3, 1, 10, 9)) * maps
  coils = dft(images, 2, 3) * np.fft.fftshift(mask)
  columns = np.fft.fftshift(mask[0])
  save_fastmri(tmp_path / "f.h5", coils, mask=columns)
  np.save(tmp_path / "f_sens.npy", maps)
  found = fastmri.read(tmp_path / "f.h5", config(combine="sense"))
  filled = np.conj(dft(np.conj(coils), 2, 3))  # the inverse of a unitary matrix
  combined = (np.conj(maps) * filled).sum(1) / (np.abs(maps) ** 2).sum(1)
  expected = np.fft.fft2(combined, norm="ortho") * mask
  np.testing.assert_allclose(found.kspace, expected, atol=1e-4)


def test_a_network_of_real_images_refuses_phase(workdir, mask, tmp_path):
  kspace = np.fft.fft2(PHANTOM * np.exp(0.8j), norm="ortho") * mask
  with h5py.File(tmp_path / "a.h5", "w") as file:
    file["kspace"] = kspace.astype(np.complex64)
  with pytest.raises(UserError, match=r"complex image \(51% of its energy"):
    run(workdir, read(tmp_path / "a.h5"))


def test_slices_sampled_differently_are_refused(mask, tmp_path):
  coils = centred(PHANTOM, mask)
  coils[1, ..., np.flatnonzero(coils[1].any((0, 1)))[0]] = 0
  save_cfl(tmp_path / "a.cfl", bart_order(coils))
  with pytest.raises(UserError, match=r"slice 1 without 10 of the points"):
    read(tmp_path / "a.cfl", contrast="kspace")


def test_samples_outside_the_mask_are_refused(mask, tmp_path):
  columns = np.fft.fftshift(mask[0]).copy()
  columns[4] = 0
  save_fastmri(tmp_path / "f.h5", centred(PHANTOM, mask)[:, 0], mask=columns)
  with pytest.raises(UserError, match=r"f.h5: found samples at 10 points outside its"):
    read(tmp_path / "f.h5")
