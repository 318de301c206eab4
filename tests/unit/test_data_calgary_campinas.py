"""The reader of Calgary-Campinas: NIfTI originals and single-channel k-space."""

import json

import numpy as np
import pytest
from helpers.data_files import (
  all_sampled,
  config,
  read,
  refused_when_truncated,
  save_nifti,
  stack,
)

from kdmri_jax import data
from kdmri_jax.errors import UserError

ORIGINALS = (
  "CC0001_philips_15_55_M",
  "CC0130_siemens_15_61_F",
  "CC0300_ge_3_58_M",
)
AFFINE = np.diag([-1.1, 0.9, 1.3, 1.0])


def originals(root):
  for k, name in enumerate(ORIGINALS):
    save_nifti(root / f"{name}.nii.gz", stack(k, (4, 7, 5)), AFFINE)
  return root


def parts(seed=0, slices=2):
  """Real and imaginary part as the files hold them."""
  draw = np.random.default_rng(seed).normal(0, 1e5, (slices, 256, 256, 2))
  return draw.astype(np.float32)


def save(path, array):
  path.parent.mkdir(parents=True, exist_ok=True)
  np.save(path, array)
  return path


def single_channel(root):
  save(root / "Train" / "e13991s3_P01536.7.npy", parts(1))
  save(root / "Train" / "e14079s3_P09216.7.npy", parts(2))
  save(root / "Val" / "e14258s3_P76800.7.npy", parts(3, 1))
  return root


# Originals


def test_originals_have_sagittal_slices_and_tell_whom_they_show(tmp_path):
  got = read("calgary_campinas", originals(tmp_path))
  assert [v.name for v in got] == list(ORIGINALS)
  assert [v.subject for v in got] == ["CC0001", "CC0130", "CC0300"]
  np.testing.assert_array_equal(got[1].target, stack(1, (4, 7, 5)))
  record = got[2].record
  assert (record["vendor"], record["age"], record["sex"]) == ("ge", 58, "M")
  assert [v.record["field_strength_tesla"] for v in got] == [1.5, 1.5, 3.0]
  assert record["zooms"] == pytest.approx([0.9, 1.3, 1.1])
  towards = {"rows": "A", "columns": "S", "slices": "L"}
  assert record["axes_increase_towards"] == towards
  step = np.array(record["affine"])[:3, :3]  # to the left, anterior, superior
  np.testing.assert_allclose(np.abs(step), [[0, 0, 1.1], [0.9, 0, 0], [0, 1.3, 0]])
  assert record["simulated_kspace"] and record["unit"] == "subject"
  assert "CC BY-ND" in record["note"]
  json.dumps(record)


def test_masks_are_no_originals(tmp_path):
  originals(tmp_path / "Original")
  for suffix in ("_ss", "_staple", "_manual", "_lh_subfields"):
    name = f"{ORIGINALS[0]}{suffix}.nii.gz"
    save_nifti(tmp_path / "Silver-standard-STAPLE" / name, stack())
  (tmp_path / "Original" / f"{ORIGINALS[0]}.nii").mkdir()
  assert len(read("calgary_campinas", tmp_path)) == 3
  (only,) = read("calgary_campinas", tmp_path, include=("*_ge_*",), contrast="T1")
  assert only.subject == "CC0300"
  with pytest.raises(UserError, match=r"data.contrast: found 'T2', of which there"):
    read("calgary_campinas", tmp_path, contrast="T2")
  assert len(read("calgary_campinas", tmp_path, combine="rss")) == 3
  with pytest.raises(UserError, match=r"data.combine: found 'sense'; expected 'rss'"):
    read("calgary_campinas", tmp_path, combine="sense")


def test_originals_through_the_loader(tmp_path):
  settings = config(source="calgary_campinas", root=str(originals(tmp_path)))
  dataset = data.load(settings, all_sampled)
  assert dataset.train.parts[0].target.shape == (8, 7, 5, 1)


@pytest.mark.parametrize("array", [None, stack(shape=(4, 7, 5, 2))])
def test_unusable_originals(tmp_path, array):
  path = originals(tmp_path) / f"{ORIGINALS[0]}.nii.gz"
  if array is None:
    path.write_bytes(path.read_bytes()[:100])
  else:
    save_nifti(path, array)
  with pytest.raises(UserError, match=r"CC0001.*: found a"):
    read("calgary_campinas", tmp_path)


# Single-channel k-space


def test_images_are_those_of_the_definition(tmp_path):
  """x[m, n] = sum_jk K[j, k] exp(2 pi i (jm + kn) / 256) / 256**2, K divided by 256."""
  stored = parts()
  save(tmp_path / "a.npy", stored)
  (volume,) = read("calgary_campinas", tmp_path)
  index = np.arange(256)
  wave = np.exp(2j * np.pi * np.outer(index, index) / 256)
  kspace = (stored[..., 0] + 1j * stored[..., 1]) / 256
  expected = wave @ kspace @ wave / 256**2
  assert volume.target.dtype == np.complex64
  np.testing.assert_allclose(volume.target, expected, atol=1e-5 * abs(expected).max())
  assert volume.record["kspace_divisor"] == 65536
  again = np.fft.fft2(volume.target, norm="ortho") * volume.record["kspace_divisor"]
  np.testing.assert_allclose(again, 256 * kspace, rtol=0, atol=5)


def test_zero_frequency_lies_at_the_corner(tmp_path):
  stored = np.full((1, 256, 256, 2), 1e-6)
  stored[0, 0, 0, 0], stored[0, 3, 0, 1] = 65536.0 * 256, 65536.0 * 64
  save(tmp_path / "a.npy", stored)
  (volume,) = read("calgary_campinas", tmp_path)
  wave = np.exp(2j * np.pi * 3 * np.arange(256) / 256)
  expected = np.broadcast_to((1 + 0.25j * wave)[:, None], (256, 256))
  np.testing.assert_allclose(volume.target[0], expected, atol=1e-6)


def test_undersampled_and_zero_padded_kspace(tmp_path):
  stored = np.ones((2, 256, 256, 2), np.float32)
  stored[:, :, 100:140] = 0  # around the highest frequencies: a border
  save(tmp_path / "a.npy", stored)
  (volume,) = read("calgary_campinas", tmp_path)
  assert volume.record["zero_padding"] == {"rows": [0, 0], "columns": [12, 28]}
  assert "border of k-space is exactly zero" in volume.record["note"]
  stored[1, 7] = 0
  save(tmp_path / "a.npy", stored)
  with pytest.raises(UserError, match=r"undersampled k-space \(slice 1: 1 empty rows"):
    read("calgary_campinas", tmp_path)


def test_folders_are_the_split_and_examinations_the_subjects(tmp_path):
  got = read("calgary_campinas", single_channel(tmp_path))
  assert [v.name for v in got][:2] == ["e13991s3_P01536.7", "e14079s3_P09216.7"]
  assert [v.subject for v in got] == ["e13991", "e14079", "e14258"]
  assert [v.split for v in got] == ["train", "train", "validation"]
  record = got[2].record
  assert record["file_shape"] == [1, 256, 256, 2]
  assert record["simulated_kspace"] is True
  assert record["unit"] == "subject" and "12 coils" in record["note"]
  json.dumps(record)
  renamed = read("calgary_campinas", tmp_path, subject_pattern=r"P\d+")
  assert renamed[0].subject == "P01536"


def test_parts_of_the_training_set_and_other_names(tmp_path):
  save(tmp_path / "Train_part1" / "b.npy", parts())
  save(tmp_path / "Test" / "sub" / "a.npy", parts(1))
  save(tmp_path / "c.npy", parts(2))
  got = {v.subject: v.split for v in read("calgary_campinas", tmp_path)}
  assert got == {"b": "train", "a": "test", "c": None}
  (named,) = read("calgary_campinas", tmp_path, include=("c",), subject_pattern="c")
  units = {v.record["unit"] for v in read("calgary_campinas", tmp_path)}
  assert (units, named.record["unit"]) == ({"file"}, "subject")


def test_the_magnitude_for_networks_of_one_channel(tmp_path):
  single_channel(tmp_path)
  only = {"include": ("e14079*",)}
  (whole,) = read("calgary_campinas", tmp_path, combine="sense", **only)
  (magnitude,) = read("calgary_campinas", tmp_path, combine="rss", **only)
  assert magnitude.target.dtype == np.float32
  np.testing.assert_allclose(magnitude.target, np.abs(whole.target))
  assert (whole.record["combine"], magnitude.record["combine"]) == ("sense", "rss")
  with pytest.raises(
    UserError, match=r"combine: found 'mean'; expected one of '', rss"
  ):
    read("calgary_campinas", tmp_path, combine="mean")


def test_kspace_through_the_loader(tmp_path):
  settings = config(source="calgary_campinas", root=str(single_channel(tmp_path)))
  dataset = data.load(settings, all_sampled)
  assert dataset.train.parts[0].target.shape == (4, 256, 256, 2)
  assert dataset.validation.volumes[0].subject == "e14258"
  assert dataset.record["simulated_kspace"] is True
  settings = config(source="calgary_campinas", root=str(tmp_path), combine="rss")
  assert data.load(settings, all_sampled).train.parts[0].target.shape[-1] == 1


@pytest.mark.parametrize(
  ("array", "found"),
  [
    (np.moveaxis(parts(), 0, 2), r"float32 numbers of shape \(256, 256, 2, 2\)"),
    (np.moveaxis(parts(), 3, 0), r"float32 numbers of shape \(2, 2, 256, 256\)"),
    (parts()[..., 0], r"float32 numbers of shape \(2, 256, 256\)"),
    (parts().astype(np.complex64), r"complex64 numbers of shape \(2, 256, 256, 2\)"),
    (np.array([{}]), r"a file that cannot be read \(ValueError"),
  ],
)
def test_other_arrays_are_refused(tmp_path, array, found):
  save(tmp_path / "a.npy", array)
  with pytest.raises(UserError, match=rf"a.npy: found {found}"):
    read("calgary_campinas", tmp_path)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.9])
def test_a_truncated_file_is_refused(tmp_path, share):
  path = save(tmp_path / "a.npy", parts())
  refused_when_truncated("calgary_campinas", tmp_path, path, share)


def test_nan_is_refused(tmp_path):
  stored = parts()
  stored[1, 5, 7, 0] = np.nan
  save(tmp_path / "a.npy", stored)
  with pytest.raises(UserError, match=r"a.npy: found \d+ NaN"):
    list(data.read(config(source="calgary_campinas", root=str(tmp_path))))


# Folders


def test_unusable_folders(tmp_path):
  (tmp_path / "notes.txt").touch()
  with pytest.raises(UserError, match=r"no file named like CC0001_.* and no \*.npy"):
    read("calgary_campinas", tmp_path)
  (tmp_path / "Train").mkdir()
  (tmp_path / "Train" / "e14089s3_P53248.7.h5").touch()
  with pytest.raises(UserError, match=r"found h5 files.*source calgary_multi"):
    read("calgary_campinas", tmp_path)
  save(tmp_path / "Train" / "a.npy", parts())
  originals(tmp_path)
  with pytest.raises(UserError, match=r"images and k-space \(CC0001_.* and a.npy\)"):
    read("calgary_campinas", tmp_path)
