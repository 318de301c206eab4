"""The readers of MRBrainS13 and MRBrainS18."""

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

SPACING = np.diag([-0.958, -0.958, 3.0, 1.0])
SUBJECTS_18 = ("1", "4", "5", "7", "14", "070", "148")
NAMES_13 = ("T1", "T1_1mm", "T1_IR", "T2_FLAIR", "LabelsForTesting")
NAMES_18 = ("T1", "reg_T1", "IR", "reg_IR", "FLAIR")


def folder_13(root, groups=("TrainingData",)):
  """Five subjects, the images of each told apart by their seeds; labels as well."""
  for k, group in enumerate(groups):
    for number in range(1, 6):
      for kind, name in enumerate(NAMES_13):
        path = root / group / str(number) / f"{name}.nii"
        save_nifti(path, stack(100 * k + 10 * number + kind, (7, 5, 4)), SPACING)
  (root / groups[0] / "readme").mkdir()
  return root


def folder_18(root):
  for k, subject in enumerate(SUBJECTS_18):
    for kind, name in enumerate(NAMES_18):
      for shift, folder in ((0, "pre"), (50, "orig")):
        path = root / "training" / subject / folder / f"{name}.nii.gz"
        save_nifti(path, stack(100 * k + shift + kind, (7, 5, 4)), SPACING)
    save_nifti(root / "training" / subject / "segm.nii.gz", stack())
    save_nifti(root / "training" / subject / "orig" / "T1_mask.nii.gz", stack())
  return root


@pytest.mark.parametrize("inner", [False, True])
def test_13_reads_t1(tmp_path, inner):
  root = folder_13(tmp_path)
  got = read("mrbrains13", root / "TrainingData" if inner else root)
  assert [v.subject for v in got] == ["1", "2", "3", "4", "5"]
  assert [v.name for v in got][:2] == ["1_T1", "2_T1"]
  np.testing.assert_array_equal(got[2].target, np.moveaxis(stack(30, (7, 5, 4)), 2, 0))
  record = got[2].record
  assert record["zooms"] == pytest.approx([0.958, 0.958, 3.0])
  assert record["axes_increase_towards"]["rows"] == "L"
  assert (record["contrast"], record["unit"]) == ("T1", "subject")
  assert record["simulated_kspace"] and "645ZIN" in record["note"]
  assert {v.split for v in got} == {None}
  json.dumps(record)


def test_13_test_subjects_are_other_people(tmp_path):
  folder_13(tmp_path, ("TrainingData", "TestData"))
  got = read("mrbrains13", tmp_path)
  assert [v.subject for v in got[4:7]] == ["5", "test_1", "test_2"]
  np.testing.assert_array_equal(got[5].target[1], stack(110, (7, 5, 4))[..., 1])
  (alone,) = read("mrbrains13", tmp_path / "TestData", include=("test_2_*",))
  assert alone.subject == "test_2"


def test_13_test_subjects_from_within_their_folder(tmp_path, monkeypatch):
  folder_13(tmp_path / "a", ("TrainingData", "TestData"))
  monkeypatch.chdir(tmp_path / "a" / "TestData")
  (volume,) = read("mrbrains13", ".", include=("test_2_*",))
  assert (volume.subject, volume.record["folder"]) == ("test_2", "TestData")
  (tmp_path / "TestData").symlink_to(tmp_path / "a" / "TrainingData")
  (volume,) = read("mrbrains13", tmp_path / "TestData", include=("test_2_*",))
  assert volume.subject == "test_2"


def test_13_another_contrast(tmp_path):
  folder_13(tmp_path)
  got = read("mrbrains13", tmp_path, contrast="T2_FLAIR", include=("[24]_T2*",))
  assert [v.name for v in got] == ["2_T2_FLAIR", "4_T2_FLAIR"]
  np.testing.assert_array_equal(got[0].target[3], stack(23, (7, 5, 4))[..., 3])


@pytest.mark.parametrize("contrast", ["LabelsForTesting", "T2"])
def test_13_what_is_no_image(tmp_path, contrast):
  folder_13(tmp_path)
  names = "one of T1, T1_1mm, T1_IR, T2_FLAIR;"
  with pytest.raises(UserError, match=rf"found '{contrast}', .*/1; expected {names}"):
    read("mrbrains13", tmp_path, contrast=contrast)


def test_18_reads_the_registered_t1(tmp_path):
  got = read("mrbrains18", folder_18(tmp_path))
  assert tuple(v.subject for v in got) == SUBJECTS_18
  assert got[5].name == "070_reg_T1"
  expected = np.moveaxis(stack(501, (7, 5, 4)), 2, 0)
  np.testing.assert_array_equal(got[5].target, expected)
  assert got[5].record["folder"] == "training"
  assert "E0U32Q" in got[5].record["note"]


def test_18_other_images(tmp_path):
  folder_18(tmp_path)
  only = {"include": ("14_*",)}
  (registered,) = read("mrbrains18", tmp_path, contrast="T1", **only)
  np.testing.assert_array_equal(registered.target[0], stack(400, (7, 5, 4))[..., 0])
  (before,) = read("mrbrains18", tmp_path / "training", contrast="orig/FLAIR", **only)
  assert before.name == "14_orig_FLAIR"
  np.testing.assert_array_equal(before.target[0], stack(454, (7, 5, 4))[..., 0])
  with pytest.raises(UserError, match=r"one of FLAIR, .*orig/reg_T1; .*"):
    read("mrbrains18", tmp_path, contrast="T1_mask")


def test_18_without_the_plain_t1_the_message_names_the_registered_one(tmp_path):
  folder_18(tmp_path)
  (tmp_path / "training" / "4" / "pre" / "T1.nii.gz").unlink()
  with pytest.raises(UserError, match=r"found 'T1', .*/4; .* reg_T1.*'' takes"):
    read("mrbrains18", tmp_path, contrast="T1")


def test_18_splits_as_documented(tmp_path):
  settings = config(
    source="mrbrains18",
    root=str(folder_18(tmp_path)),
    train=("1", "4", "5", "7", "14"),
    validation=("070", "148"),
  )
  dataset = data.load(settings, all_sampled)
  assert [v.subject for v in dataset.train.volumes] == list(SUBJECTS_18[:5])
  assert [v.subject for v in dataset.validation.volumes] == list(SUBJECTS_18[5:])


def test_13_goes_through_the_loader(tmp_path):
  settings = config(source="mrbrains13", root=str(folder_13(tmp_path)), crop=(6, 6))
  dataset = data.load(settings, all_sampled)
  assert dataset.record["unit"] == "subject"
  assert dataset.train.parts[0].target.shape == (16, 6, 6, 1)


def test_subject_pattern(tmp_path):
  folder_13(tmp_path)
  got = read("mrbrains13", tmp_path, subject_pattern=r"TrainingData/\d")
  assert got[3].subject == "TrainingData/4"


@pytest.mark.parametrize("source", ["mrbrains13", "mrbrains18"])
def test_unusable_folders(tmp_path, source):
  with pytest.raises(UserError, match=r"found an empty folder"):
    read(source, tmp_path)
  (tmp_path / "patient001").mkdir()
  with pytest.raises(
    UserError, match=r"no numbered folder .*are: patient001\).*/1 and"
  ):
    read(source, tmp_path)
  (tmp_path / "1").mkdir()
  with pytest.raises(UserError, match=r"no image in .*/1; .* one of none"):
    read(source, tmp_path)


def test_unusable_files(tmp_path):
  path = folder_13(tmp_path) / "TrainingData" / "1" / "T1.nii"
  refused_when_truncated("mrbrains13", tmp_path, path, 0.5)
  save_nifti(path, stack(shape=(7, 5, 4, 2)))
  with pytest.raises(UserError, match=r"T1.nii: found an array of shape \(7, 5, 4, 2"):
    read("mrbrains13", tmp_path)
