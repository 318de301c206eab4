"""Noise readouts of ISMRM raw data prewhiten the coils that are kept."""

import numpy as np
import pytest
from helpers import coil_files, ismrmrd_files
from helpers.coil_files import settings

import kdmri_jax as kd
from kdmri_jax.data import dataset
from kdmri_jax.errors import UserError

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


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda noise: noise[:3], "noise readouts of 3 coils; expected those of 4 coils"),
    (lambda noise: noise * np.array([1, 1, 1, 0])[:, None], "coils are dependent"),
    (lambda noise: noise + np.inf, "NaN or infinite values in noise readouts"),
  ],
)
def test_noise_that_cannot_whiten_is_refused(tmp_path, change, message):
  with_noise(tmp_path, change(mixed_noise(100)), *coil_files.coil_images(1))
  with pytest.raises(UserError, match=rf"1\.mrd: found .*{message}"):
    list(dataset.read(settings("ismrmrd", tmp_path)))
  assert list(dataset.read(settings("ismrmrd", tmp_path, combine="")))
