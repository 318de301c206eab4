"""The readers of the original h5 layout and of MNI152; unusable folders."""

import sys

import h5py
import nibabel
import numpy as np
import pytest
from helpers.data_files import images, kdmri_file, read, refused_when_truncated, save_h5

from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import read_kspace

# KD-MRI


@pytest.mark.parametrize(
  ("kind", "base"),
  [
    ("mrbrain", "mrbrain"),
    ("mrbrain", "datasets/mrbrain"),
    ("", "."),
    ("", "datasets"),
  ],
)
def test_kdmri_layout(tmp_path, kind, base):
  for number in (10, 2, 1):
    kdmri_file(tmp_path / base / "train" / "acc_4x" / f"{number}.h5", number)
  stored = kdmri_file(tmp_path / base / "validation" / "acc_4x" / "1.h5", 7)
  got = read("kdmri", tmp_path, kdmri_type=kind)
  assert [v.name for v in got] == ["1", "2", "10", "1"]
  assert [v.subject for v in got] == ["train/1", "train/2", "train/10", "validation/1"]
  assert got[3].split == "validation"
  for key, array in (
    ("volfs", got[3].target),
    ("kspace_volus_4x", got[3].kspace),
    ("img_volus_4x", got[3].zero_filled),
  ):
    np.testing.assert_array_equal(array, np.moveaxis(stored[key], 2, 0))


def test_kdmri_one_slice_a_file(tmp_path):
  folder = tmp_path / "train" / "acc_4x"
  stored = kdmri_file(folder / "1.h5", 1, shape=(6, 5))
  (volume,) = read("kdmri", tmp_path)
  np.testing.assert_array_equal(volume.target, stored["volfs"][None])
  assert volume.kspace.shape == (1, 6, 5)
  assert volume.record["unit"] == "file" and "Each file" in volume.record["note"]
  (named,) = read("kdmri", tmp_path, subject_pattern=r"(\d+)\.h5")
  assert named.record["unit"] == "subject" and "note" not in named.record


def test_kdmri_without_kspace(tmp_path):
  save_h5(tmp_path / "train" / "acc_8x" / "1.h5", volfs=images())
  (volume,) = read("kdmri", tmp_path, acceleration_tag="8x")
  assert volume.kspace is None
  assert volume.zero_filled is None
  assert volume.record["simulated_kspace"] is True


def test_kdmri_missing_keys(tmp_path):
  path = tmp_path / "train" / "acc_4x" / "1.h5"
  save_h5(path, volume=images(), mask=images())
  with pytest.raises(
    UserError, match=r"no dataset 'volfs' \(the keys are: mask, volume"
  ):
    read("kdmri", tmp_path)
  save_h5(path, volfs=images(), img_volus_4x=images())
  with pytest.raises(UserError, match=r"no dataset 'kspace_volus_4x'"):
    read("kdmri", tmp_path)
  kdmri_file(path, 0, tag="5x")
  with pytest.raises(UserError, match=r"no dataset 'kspace_volus_4x'.*kspace_volus_5x"):
    read("kdmri", tmp_path)


def test_kdmri_missing_folders(tmp_path):
  kdmri_file(tmp_path / "knee" / "train" / "acc_4x" / "1.h5", 0)
  with pytest.raises(UserError, match=r"no folder train \(the folders are: knee\)"):
    read("kdmri", tmp_path)
  with pytest.raises(UserError, match=r"acc_5x: found no h5 file there .*acc_4x"):
    read("kdmri", tmp_path, kdmri_type="knee", acceleration_tag="5x")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_kdmri_truncated(tmp_path, share):
  path = tmp_path / "train" / "acc_4x" / "1.h5"
  kdmri_file(path, 0)
  refused_when_truncated("kdmri", tmp_path, path, share)


def test_a_volume_larger_than_its_file_is_refused_before_it_is_read(tmp_path):
  """An h5 dataset of which nothing is stored, and a NIfTI header alone."""
  path = tmp_path / "train" / "acc_4x" / "1.h5"
  path.parent.mkdir(parents=True)
  with h5py.File(path, "w") as file:
    file.create_dataset("volfs", (10**5, 10**5, 10**4), np.float32, chunks=(64, 64, 1))
  with pytest.raises(
    UserError, match=r"1.h5: found a file that cannot be read .* bytes for an"
  ):
    read("kdmri", tmp_path)
  header = nibabel.Nifti1Header()
  header.set_data_shape((32767, 32767, 32767))
  header.set_data_offset(352)
  (tmp_path / "huge.nii").write_bytes(header.binaryblock + bytes(4))
  with pytest.raises(
    UserError, match=r"huge.nii: found a file that cannot be read .* bytes for an"
  ):
    read("nifti", tmp_path)


# MNI152


def test_mni152_slabs():
  slabs = read("mni152")
  assert [v.name for v in slabs[:2]] == ["mni152_slab_00", "mni152_slab_01"]
  assert len(slabs) >= 10
  assert {v.target.shape for v in slabs} == {(6, 116, 98)}
  starts = [v.record["template_slices"][0] for v in slabs]
  assert set(np.diff(starts)) == {9}
  assert all((v.target > 0.05).mean() > 0.02 for v in slabs)
  assert "one head" in slabs[0].record["note"]
  assert slabs[0].record["unit"] == "slab of one head"


def test_mni152_is_upright():
  """The head is longer than wide, nearly symmetric, and narrower in front."""
  middle = read("mni152", include=("mni152_slab_07",))[0].target[0] > 0.05
  rows, columns = np.flatnonzero(middle.any(1)), np.flatnonzero(middle.any(0))
  assert np.ptp(rows) > 1.1 * np.ptp(columns)
  mirrored = middle[:, ::-1]
  assert (
    max((np.roll(mirrored, k, 1) & middle).sum() / middle.sum() for k in range(-3, 4))
    > 0.95
  )
  width = middle.sum(1)
  quarter = np.ptp(rows) // 5
  assert width[rows[0] + quarter] < width[rows[-1] - quarter]


# One file


def test_kspace_of_the_runs_acceleration_is_taken(tmp_path):
  path = tmp_path / "1.h5"
  stored = kdmri_file(path, 0, tag="4x")["kspace_volus_4x"]
  expected = np.moveaxis(stored, 2, 0).astype(np.complex64)
  np.testing.assert_array_equal(read_kspace(path, "8x"), expected)
  arrays = {"kspace_volus_4x": stored, "kspace_volus_5x": 2 * stored}
  save_h5(path, **arrays)
  np.testing.assert_array_equal(read_kspace(path, "5x"), 2 * expected)
  with pytest.raises(
    UserError, match=r"1.h5: .* kspace_volus_4x, kspace_volus_5x; .*kspace_volus_8x"
  ):
    read_kspace(path, "8x")
  save_h5(path, **arrays, kspace=3 * expected)
  np.testing.assert_array_equal(read_kspace(path, "5x"), 3 * expected)
  save_h5(path, volfs=images())
  assert read_kspace(path, "4x") is None


# Settings and folders


TAKEN = {
  "mrbrains13": ("contrast",),
  "mrbrains18": ("contrast",),
  "ixi": ("contrast",),
  "dicom": ("contrast",),
} | dict.fromkeys(
  ("phantom", "mni152", "nifti", "npz", "acdc", "kdmri", "prepared"), ()
)


@pytest.mark.parametrize("source", TAKEN)
def test_settings_without_effect_are_refused(source):
  for name, value in (("contrast", "T1"), ("combine", "rss")):
    if name not in TAKEN[source]:
      with pytest.raises(
        UserError,
        match=rf"data.{name}: found '{value}'; expected '', because {source} does not",
      ):
        read(source, **{name: value})


@pytest.mark.parametrize("source", ["nifti", "acdc", "kdmri", "prepared"])
def test_unusable_roots(tmp_path, source):
  with pytest.raises(UserError, match=r"data.root: found no folder"):
    read(source, "")
  with pytest.raises(UserError, match=r"gone: found no such folder"):
    read(source, tmp_path / "gone")
  with pytest.raises(UserError, match=r"found an empty folder"):
    read(source, tmp_path)
  (tmp_path / "notes.txt").write_text("nothing here")
  with pytest.raises(UserError, match=r"found a file;"):
    read(source, tmp_path / "notes.txt")
  with pytest.raises(UserError, match=rf"^{tmp_path}.*: found no f"):
    read(source, tmp_path)


def test_nilearn_may_be_absent(monkeypatch):
  monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
  with pytest.raises(UserError, match=r"nilearn is not installed.*source phantom"):
    read("mni152")
