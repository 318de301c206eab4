"""Arrays whose axes fit several layouts are refused, those of one layout are read."""

import h5py
import numpy as np
import pytest
from helpers.raw_files import noise, to_kspace
from helpers.scan_files import save_fastmri

from kdmri_jax.config import DataConfig
from kdmri_jax.data.sources import find_source
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan
from kdmri_jax.io.volume_files import read_volume


def h5_file(path, **arrays):
  with h5py.File(path, "w") as file:
    for key, array in arrays.items():
      file[key] = array
  return path


def read(path, **choices):
  return read_scan.read(path, DataConfig(source="phantom"), **choices)


def image(rows=40, columns=36):
  """Bright in the middle, so that its k-space has a clear zero frequency."""
  found = np.zeros((2, rows, columns))
  found[:, rows // 4 : -rows // 4, columns // 4 : -columns // 4] = 1
  return found


PAIRS = np.random.default_rng(0).normal(size=(2, 40, 36, 2)).astype(np.float32)


def test_pairs_are_not_coils(tmp_path):
  message = r"a.h5: found kspace .*\(2, 40, 36, 2\), whose last axis fits the real and"
  path = h5_file(tmp_path / "a.h5", kspace=PAIRS)
  assert read_scan.source_of(path) == "h5"
  with pytest.raises(UserError, match=message):
    read(path)
  named = h5_file(tmp_path / "e13991s3_P01536.7.h5", kspace=PAIRS)
  with pytest.raises(UserError, match="whose last axis fits the real and imaginary"):
    read(named)
  with pytest.raises(UserError, match="real and imaginary part of one coil"):
    read(path, source="calgary_multi")
  config = DataConfig(source="calgary_multi", root=str(tmp_path))
  with pytest.raises(UserError, match="real and imaginary part of one coil"):
    list(find_source("calgary_multi").read_volumes(config))


@pytest.mark.parametrize("kind", ["h5", "npy", "npz"])
@pytest.mark.parametrize("shape", [(40, 36, 2), (2, 40, 36, 2)])
def test_pairs_are_no_images(tmp_path, kind, shape):
  array, path = np.abs(PAIRS.reshape(-1)[: np.prod(shape)].reshape(shape)), tmp_path
  if kind == "h5":
    path = h5_file(tmp_path / "a.h5", target=array)
  elif kind == "npy":
    np.save(path := tmp_path / "a.npy", array)
  else:
    np.savez(path := tmp_path / "a.npz", image=array)
  with pytest.raises(UserError, match="whose last axis fits the real and imaginary"):
    read(path)


def test_real_kspace_of_coils_needs_the_name_or_size_of_its_data_set(tmp_path):
  coils = np.random.default_rng(0).normal(size=(1, 20, 24, 8)).astype(np.float32)
  path = h5_file(tmp_path / "a.h5", kspace=coils)
  with pytest.raises(UserError, match="name its source, calgary_multi"):
    read(path)
  assert read_scan.source_of(path) == "h5"
  expected = read(path, source="calgary_multi").target
  named = h5_file(tmp_path / "e13991s3_P01536.7.h5", kspace=coils)
  np.testing.assert_array_equal(read(named).target, expected)
  sized = h5_file(tmp_path / "b.h5", kspace=np.ones((1, 218, 170, 24), np.float32))
  assert read_scan.source_of(sized) == "calgary_multi"


def test_pairs_of_256_need_the_name_of_their_data_set(tmp_path):
  pairs = np.random.default_rng(0).normal(size=(1, 256, 256, 2)).astype(np.float32)
  np.save(tmp_path / "a.npy", pairs)
  with pytest.raises(UserError, match="name its source, calgary_campinas"):
    read(tmp_path / "a.npy")
  scan = read(tmp_path / "a.npy", source="calgary_campinas", combine="rss")
  expected = np.abs(np.fft.ifft2(pairs[..., 0] + 1j * pairs[..., 1])) / 256
  np.testing.assert_allclose(scan.target, expected, rtol=1e-4)


def test_slices_or_coils_along_another_axis(tmp_path):
  last, middle = np.ones((40, 36, 3)), np.ones((40, 3, 36))
  path = h5_file(tmp_path / "a.h5", kspace=last.astype(np.complex64))
  with pytest.raises(UserError, match=r"columns fit slices .*numpy.moveaxis\(a, 2, 0"):
    read(path)
  path = h5_file(tmp_path / "b.h5", target=last)
  for reader in (read, read_volume):
    with pytest.raises(UserError, match="the columns fit slices or coils better"):
      reader(path)
  np.save(tmp_path / "c.npy", middle)
  with pytest.raises(UserError, match=r"rows fit slices .*numpy.moveaxis\(a, 1, 0"):
    read(tmp_path / "c.npy")


def test_centred_kspace_is_not_read_as_uncentred(tmp_path):
  kspace = np.fft.fft2(image(), norm="ortho")
  path = h5_file(tmp_path / "a.h5", kspace=kspace)
  np.testing.assert_allclose(read(path).kspace, kspace, rtol=1e-5, atol=1e-5)
  path = h5_file(tmp_path / "b.h5", kspace=np.fft.fftshift(kspace, axes=(1, 2)))
  with pytest.raises(UserError, match=r"found kspace with its largest values in the m"):
    read(path)


def test_axes_of_fastmri(tmp_path):
  kspace, images = to_kspace(noise((2, 3, 20, 18))), np.ones((2, 20, 18))
  save_fastmri(tmp_path / "a.h5", kspace, reconstruction_rss=images)
  assert read(tmp_path / "a.h5").target.shape == (2, 20, 18)
  last = np.moveaxis(kspace, 1, 3)
  save_fastmri(tmp_path / "b.h5", last, reconstruction_rss=images)
  with pytest.raises(UserError, match="'kspace' of 20 coils for 18 rows and 3 columns"):
    read(tmp_path / "b.h5")
  save_fastmri(tmp_path / "c.h5", kspace[0], reconstruction_rss=images[:1])
  message = "3 slices of 'kspace', but 1 of 'reconstruction_rss'"
  with pytest.raises(UserError, match=message):
    read(tmp_path / "c.h5")
