"""Undersampled k-space in every format, of one coil and of several."""

import h5py
import numpy as np
import pytest
from centred import dft
from scan_files import (
  PHANTOM,
  SHAPE,
  bart_order,
  read,
  run,
  save_cfl,
  save_fastmri,
  train_student,
)

from kdmri_jax.data import undersampled
from kdmri_jax.errors import UserError
from kdmri_jax.evaluation import reconstruct
from kdmri_jax.training import trained

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return train_student(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def mask(workdir):
  """The run's own, uncentred; only the columns are phase-encoded."""
  mask = trained.load(workdir, "student", SHAPE[1:]).acquisition.masks[0]
  assert (mask == mask[:1]).all() and 0 < mask.mean() < 0.7
  return mask


@pytest.fixture(scope="module")
def kspace(mask):
  """Uncentred and undersampled."""
  return (np.fft.fft2(PHANTOM, norm="ortho") * mask).astype(np.complex64)


@pytest.fixture(scope="module")
def of_kspace(workdir, kspace, tmp_path_factory):
  """What comes of it in an h5 file of the plain layout."""
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


@pytest.mark.parametrize(
  "save",
  [undersampled_fastmri, undersampled_cfl, undersampled_npy, undersampled_kdmri],
)
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


def test_the_centre_alone_is_not_fully_sampled(tmp_path):
  """But k-space with a narrow empty border is."""
  for width, measured in ((3, True), (7, False)):
    mask = np.zeros(SHAPE[1:])
    mask[:, :width] = 1
    mask = np.roll(mask, -(width // 2), 1)
    path, options = undersampled_cfl(tmp_path, PHANTOM, mask)
    scan = read(path, **options)
    assert isinstance(scan, undersampled.Measured) == measured


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
  np.save(tmp_path / "f_sens.npy", maps[:, :1])
  with pytest.raises(UserError, match=r"f_sens.npy: found complex128 .*\(3, 1, 10, 9"):
    read(tmp_path / "f.h5", combine="sense")


def test_varying_sensitivities_by_the_definition(mask, tmp_path):
  rng = np.random.default_rng(3)
  maps = rng.normal(size=(3, 2, 10, 9)) + 1j * rng.normal(size=(3, 2, 10, 9))
  images = rng.normal(size=(3, 1, 10, 9)) * maps
  coils = dft(images, 2, 3) * np.fft.fftshift(mask)
  columns = np.fft.fftshift(mask[0])
  save_fastmri(tmp_path / "f.h5", coils, mask=columns)
  np.save(tmp_path / "f_sens.npy", maps)
  found = undersampled.from_fastmri(tmp_path / "f.h5", "sense")
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
