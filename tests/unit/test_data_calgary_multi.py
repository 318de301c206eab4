"""The reader of Calgary-Campinas' multi-channel k-space."""

import json

import numpy as np
import pytest
from helpers.data_files import (
  all_sampled,
  config,
  read,
  refused_when_truncated,
  save_h5,
)
from helpers.raw_files import noise, scan, to_kspace

from kdmri_jax.data import load
from kdmri_jax.errors import UserError


def interleaved(kspace):
  """[S, C, H, W] to (S, H, W, 2 C): real and imaginary part of each coil in turn."""
  last = np.moveaxis(kspace, 1, 3)
  return np.stack([last.real, last.imag], -1).reshape(*last.shape[:3], -1)


def subject(path, seed=0, shape=(3, 2, 9, 20)):
  """Writes one file; returns the coils' images with the last columns not acquired."""
  images, maps = scan(shape, seed)
  kspace = to_kspace(maps * images[:, None], centred_image=False)
  save_h5(path, kspace=interleaved(kspace).astype(np.float32))
  kspace[..., 17:] = 0
  size = shape[2:]
  shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
  return np.fft.ifft2(shifted) * np.sqrt(np.prod(size))


def test_channels_become_one_image(tmp_path):
  images = subject(tmp_path / "e1.7.h5")
  (volume,) = read("calgary_multi", tmp_path)
  expected = np.sqrt((np.abs(images) ** 2).sum(1))
  np.testing.assert_allclose(volume.target, expected, rtol=1e-4)
  assert (volume.name, volume.subject, volume.split) == ("e1.7", "e1.7", None)
  record = json.loads(json.dumps(volume.record))
  assert record["coils"] == 2 and record["file_shape"] == [3, 9, 20, 4]
  assert record["acquired_columns"] == [0, 17]
  assert record["zero_padding"] == {"rows": [0, 0], "columns": [0, 3]}
  assert record["simulated_kspace"] is True and record["unit"] == "file"
  assert read("calgary_multi", tmp_path, combine="rss", contrast="T1")


def test_the_image_stands_where_the_challenge_has_it(tmp_path):
  """A point at row 2, column 3 of the magnitude of the plain inverse FFT."""
  point = np.zeros((1, 2, 9, 10))  # the second coil sees nothing
  point[:, 0, 2, 3] = 1
  kspace = to_kspace(point, centred_image=False)
  save_h5(tmp_path / "a.h5", kspace=interleaved(kspace).astype(np.float32))
  (volume,) = read("calgary_multi", tmp_path)
  assert np.unravel_index(volume.target.argmax(), (1, 9, 10)) == (0, 2, 3)
  plain = np.abs(
    np.fft.ifft2(np.where(np.arange(10) < 9, kspace[0, 0], 0), norm="ortho")
  )
  np.testing.assert_allclose(volume.target[0], plain, atol=1e-6)


def test_two_scans_of_an_examination_show_one_subject(tmp_path):
  for k, name in enumerate(("e13991s3_P01536.7", "e13991s4_P02048.7")):
    subject(tmp_path / f"{name}.h5", k)
  got = read("calgary_multi", tmp_path)
  assert [v.name for v in got] == ["e13991s3_P01536.7", "e13991s4_P02048.7"]
  assert {(v.subject, v.record["unit"]) for v in got} == {("e13991", "subject")}
  (named,) = read("calgary_multi", tmp_path, include=("*s3*",), subject_pattern=r"P\d+")
  assert named.subject == "P01536"


def test_the_folders_are_the_split(tmp_path):
  subject(tmp_path / "Train" / "a.h5")
  (volume,) = read("calgary_multi", tmp_path)
  assert volume.split is None
  subject(tmp_path / "Val" / "b.h5", 1)
  subject(tmp_path / "Test-R=5" / "c.h5", 2)
  data = load(config(source="calgary_multi", root=str(tmp_path)), all_sampled)
  assert data.record["subjects"] == {"train": ["a"], "validation": ["b"]}
  assert data.record["unit"] == "file"
  assert "The last 15%" in data.record["notes"][0]
  (volume,) = read(
    "calgary_multi", tmp_path, include=("b",), subject_pattern=r"Val/(.)"
  )
  assert (volume.subject, volume.record["unit"]) == ("b", "subject")


@pytest.mark.parametrize(
  ("array", "message"),
  [
    (np.ones((3, 9, 20)), r"shape \(3, 9, 20\)"),
    (np.ones((3, 9, 20, 3)), r"shape \(3, 9, 20, 3\)"),
    (np.ones((4, 3, 9, 20)), r"shape \(4, 3, 9, 20\)"),
    (np.ones((0, 9, 20, 4)), r"shape \(0, 9, 20, 4\)"),
    (np.ones((3, 9, 20, 4), np.complex64), r"'kspace' of type complex64"),
  ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
  save_h5(tmp_path / "a.h5", kspace=array)
  with pytest.raises(UserError, match=rf"a.h5: found .*{message}"):
    read("calgary_multi", tmp_path)


def test_undersampled_files_are_refused(tmp_path):
  points = np.random.default_rng(0).random((40, 60)) < 0.3
  kspace = noise((1, 2, 40, 60)) * points
  save_h5(tmp_path / "Test-R=5" / "a.h5", kspace=interleaved(kspace))
  with pytest.raises(
    UserError, match=r"a.h5: found undersampled .*of the points empty"
  ):
    read("calgary_multi", tmp_path / "Test-R=5")
  with pytest.raises(UserError, match=r"no file .*\(the folders are: Test-R=5\)"):
    read("calgary_multi", tmp_path)


def test_what_the_set_does_not_have(tmp_path):
  subject(tmp_path / "a.h5")
  with pytest.raises(UserError, match=r"data.combine: found 'sense'"):
    read("calgary_multi", tmp_path, combine="sense")
  with pytest.raises(UserError, match=r"data.contrast: found 'T2', of which there"):
    read("calgary_multi", tmp_path, contrast="T2")
  save_h5(tmp_path / "a.h5", data=np.ones(3))
  with pytest.raises(UserError, match=r"no dataset 'kspace' \(the keys are: data\)"):
    read("calgary_multi", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, share):
  subject(tmp_path / "a.h5")
  refused_when_truncated("calgary_multi", tmp_path, tmp_path / "a.h5", share)
