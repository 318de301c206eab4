"""Noise that was measured alone prewhitens the coils that are kept."""

import pathlib

import numpy as np
import pytest
from helpers import coil_files, ismrmrd_files
from helpers.coil_files import settings
from helpers.data_files import config

import kdmri_jax as kd
from kdmri_jax.data import dataset, spool
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan

pytestmark = pytest.mark.usefixtures("quick_compilation")

MASK = kd.masks.cartesian((24, 20), 2, 8, axis=1)


def with_noise(path, noise, images, maps):
  """A file of coils whose noise was measured in readouts of 50 samples."""
  coil_files.write("ismrmrd", path, 1, images, maps)
  acquisitions = [
    ismrmrd_files.readout(own, 0, flags=("NOISE_MEASUREMENT",))
    for own in np.split(noise, noise.shape[1] // 50, axis=1)
  ]
  head = ismrmrd_files.header((20, 24), (20, 24))
  ismrmrd_files.save(path / "1.mrd", head, acquisitions)


def mixed_noise(count=3000):
  rng = np.random.default_rng(0)
  mixing = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
  white = rng.normal(size=(4, count)) + 1j * rng.normal(size=(4, count))
  return mixing @ white


@pytest.mark.parametrize("method", ["given", "espirit"])
def test_noise_readouts_prewhiten(tmp_path, method):
  images, maps = coil_files.coil_images(1)
  noise = mixed_noise()
  with_noise(tmp_path, noise, images, maps)
  (volume,) = dataset.read(
    settings("ismrmrd", tmp_path, sensitivities=method, scaling="none")
  )
  covariance = noise @ noise.conj().T / noise.shape[1]
  variance = np.trace(covariance).real / 4
  unmix = np.sqrt(variance) * np.linalg.inv(np.linalg.cholesky(covariance))
  left = unmix @ covariance @ unmix.conj().T
  np.testing.assert_allclose(left, variance * np.eye(4), atol=1e-9 * variance)
  white = np.einsum("cd,sdhw->schw", unmix, images)
  volume = volume.in_memory()
  np.testing.assert_allclose(
    np.fft.ifft2(volume.kspace, norm="ortho"), white, atol=1e-5 * abs(white).max()
  )
  target = (volume.sensitivities.conj() * white).sum(1)
  np.testing.assert_allclose(volume.target, target, atol=1e-5 * abs(target).max())
  if method == "given":
    own = np.einsum("cd,sdhw->schw", unmix, maps)
    own /= np.sqrt((np.abs(own) ** 2).sum(1, keepdims=True))
    np.testing.assert_allclose(volume.sensitivities, own, atol=1e-5)
  assert volume.record["prewhitened"]
  plain = tmp_path / "plain"
  coil_files.write("ismrmrd", plain, 1, images, maps)
  for way in ("rss", "none"):
    own, other = (
      list(dataset.read(settings("ismrmrd", root, combine=way, include=("1",))))
      for root in (tmp_path, plain)
    )
    same = np.array_equal(own[0].target, other[0].target)
    assert same == (way == "rss")


@pytest.mark.parametrize("source", coil_files.WRITERS)
def test_a_file_of_noise_prewhitens_the_scan_beside_it(tmp_path, source):
  images, maps = coil_files.coil_images(1)
  path = coil_files.write(source, tmp_path, 1, images, maps, MASK)
  noise = mixed_noise()
  file = path.with_name(f"{path.stem}_noise.npy")
  options = {"combine": "none", "source": source, "sensitivities": "given"}
  if source in ("bart", "arrays"):
    options["contrast"] = "kspace"
  plain = read_scan.read(path, config(), **options)
  np.save(file, noise)
  white = read_scan.read(path, config(), **options)
  covariance = noise @ noise.conj().T / noise.shape[1]
  unmix = np.linalg.inv(np.linalg.cholesky(covariance))
  unmix *= np.sqrt(np.trace(covariance).real / 4)
  expected = np.einsum("cd,sdhw->schw", unmix, spool.in_memory(plain.kspace))
  largest = np.abs(expected).max()
  np.testing.assert_allclose(
    spool.in_memory(white.kspace), expected, atol=1e-5 * largest
  )
  assert (white.record["prewhitened"], plain.record["prewhitened"]) == (True, False)
  np.save(file, noise[:3])
  match = rf"{file.name}: found noise of 3 coils; expected those of 4 coils"
  with pytest.raises(UserError, match=match):
    read_scan.read(path, config(), **options)
  np.save(file, noise.real)
  match = rf"{file.name}: found float64 numbers of shape .*; expected complex samples"
  with pytest.raises(UserError, match=match):
    read_scan.read(path, config(), **options)


def test_a_scan_that_is_named_noise_is_a_scan(tmp_path):
  images, maps = coil_files.coil_images(1)
  for name in ("1", "a_noise", "b_noise"):
    coil_files.WRITERS["arrays"](tmp_path / name, images, maps, np.ones((24, 20)))
  np.save(tmp_path / "1_noise.npy", mixed_noise())
  names = [v.name for v in dataset.read(settings("arrays", tmp_path))]
  assert names == ["1", "a_noise", "b_noise"]


def test_a_folder_that_is_given_as_a_dot(tmp_path, monkeypatch):
  images, maps = coil_files.coil_images(1)
  folder = coil_files.write("hammernik", tmp_path, "1.1", images, maps)
  np.save(folder.with_name("1.1_noise.npy"), mixed_noise())
  monkeypatch.chdir(folder)
  options = {"combine": "none", "source": "hammernik", "sensitivities": "given"}
  for path in (".", "rawdata1.mat"):
    scan = read_scan.read(pathlib.Path(path), config(), **options)
    assert scan.record["prewhitened"]


def test_a_file_of_noise_is_used_in_place_of_the_noise_readouts(tmp_path):
  """And is not taken for a scan."""
  images, maps = coil_files.coil_images(1)
  with_noise(tmp_path / "in", mixed_noise(), images, maps)
  for source in ("ismrmrd", "arrays"):
    (tmp_path / source).mkdir()
    coil_files.write(source, tmp_path / source, 1, images, maps)
  read = {}
  for name in ("in", "ismrmrd", "arrays"):
    source = "ismrmrd" if name == "in" else name
    np.save(tmp_path / name / "1_noise.npy", mixed_noise(200))
    (volume,) = dataset.read(settings(source, tmp_path / name, sensitivities="given"))
    read[name] = volume.in_memory().kspace
  np.testing.assert_array_equal(read["in"], read["ismrmrd"])
  np.testing.assert_allclose(read["in"], read["arrays"], atol=1e-5)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda noise: noise[:3], "noise of 3 coils; expected those of 4 coils"),
    (lambda noise: noise * np.array([1, 1, 1, 0])[:, None], "coils are dependent"),
    (lambda noise: noise + np.inf, "NaN or infinite values in the noise"),
  ],
)
def test_noise_that_cannot_whiten_is_refused(tmp_path, change, message):
  with_noise(tmp_path, change(mixed_noise(100)), *coil_files.coil_images(1))
  with pytest.raises(UserError, match=rf"1\.mrd: found .*{message}"):
    list(dataset.read(settings("ismrmrd", tmp_path)))
  assert list(dataset.read(settings("ismrmrd", tmp_path, combine="")))
