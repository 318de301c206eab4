"""The reader of IXI."""

import json

import numpy as np
import pytest
from helpers.data_files import all_sampled, config, read, save_nifti, stack

from kdmri_jax import data
from kdmri_jax.errors import UserError

SCANS = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873")


def folder(root, contrasts, below=False):
  """Three subjects; the seed of an image is 10 * contrast + subject."""
  for kind, contrast in enumerate(contrasts):
    for k, scan in enumerate(SCANS):
      path = root / (f"IXI-{contrast}" if below else "") / f"{scan}-{contrast}.nii.gz"
      save_nifti(path, stack(10 * kind + k, (7, 5, 4)))
  return root


def test_subject_hospital_and_contrast_come_from_the_name(tmp_path):
  got = read("ixi", folder(tmp_path, ["PD"]))
  assert [v.subject for v in got] == ["IXI002", "IXI012", "IXI035"]
  assert got[1].name == "IXI012-HH-1211-PD"
  assert [v.record["site"] for v in got] == ["Guys", "HH", "IOP"]
  np.testing.assert_array_equal(got[1].target, np.moveaxis(stack(1, (7, 5, 4)), 2, 0))
  record = got[1].record
  assert (record["contrast"], record["unit"]) == ("PD", "subject")
  assert record["simulated_kspace"] and "CC BY-SA" in record["note"]
  json.dumps(record)


@pytest.mark.parametrize("below", [False, True])
def test_pd_is_the_usual_contrast_of_several(tmp_path, below):
  root = folder(tmp_path, ["T2", "PD"], below)
  (volume,) = read("ixi", root, include=("IXI035*",))
  np.testing.assert_array_equal(volume.target[0], stack(12, (7, 5, 4))[..., 0])
  (volume,) = read("ixi", root, include=("IXI035*",), contrast="T2")
  np.testing.assert_array_equal(volume.target[0], stack(2, (7, 5, 4))[..., 0])


def test_a_single_contrast_is_the_usual_one(tmp_path):
  assert read("ixi", folder(tmp_path, ["T1"]))[0].record["contrast"] == "T1"
  with pytest.raises(UserError, match=r"found 'PD', .* of T1; '' takes T1"):
    read("ixi", tmp_path, contrast="PD")


def test_without_pd_several_contrasts_leave_the_choice_to_the_user(tmp_path):
  folder(tmp_path, ["T1", "MRA"])
  with pytest.raises(UserError, match=r"found 'PD', of which .* of MRA, T1;"):
    read("ixi", tmp_path)
  assert len(read("ixi", tmp_path, contrast="MRA")) == 3


def test_directions_of_diffusion_are_volumes_of_one_subject(tmp_path):
  for k in range(2):
    save_nifti(tmp_path / f"IXI002-Guys-0828-DTI-{k:02d}.nii.gz", stack(k))
  got = read("ixi", tmp_path)
  assert [v.name for v in got] == ["IXI002-Guys-0828-DTI-00", "IXI002-Guys-0828-DTI-01"]
  assert {v.subject for v in got} == {"IXI002"}


def test_masks_and_other_files_are_left_alone(tmp_path):
  root = folder(tmp_path, ["PD"])
  for name in ("IXI002-Guys-0828-PD_mask", "._IXI002-Guys-0828-PD", "mean-PD"):
    save_nifti(root / f"{name}.nii.gz", stack())
  (root / "IXI002-Guys-0828-PD.nii").mkdir()
  for name in ("IXI.xls", "IXI002-Guys-0828-PD.nii.gz.part"):
    (root / name).touch()
  assert len(read("ixi", root)) == 3


def test_hospitals_can_be_chosen_and_subjects_renamed(tmp_path):
  folder(tmp_path, ["PD"])
  (volume,) = read("ixi", tmp_path, include=("*-HH-*",), subject_pattern=r"-(\d{4})-")
  assert volume.subject == "1211"


def test_the_loader(tmp_path):
  settings = config(source="ixi", root=str(folder(tmp_path, ["PD"])), test=("IXI035",))
  dataset = data.load(settings, all_sampled)
  assert dataset.test.volumes[0].name == "IXI035-IOP-0873-PD"
  assert dataset.train.parts[0].target.shape == (4, 7, 5, 1)
  assert dataset.record["simulated_kspace"] is True


def test_unusable_folders_and_files(tmp_path):
  (tmp_path / "notes.txt").touch()
  with pytest.raises(UserError, match=r"no file named like IXI002-Guys-0828-PD.nii.gz"):
    read("ixi", tmp_path)
  path = folder(tmp_path, ["PD"]) / f"{SCANS[0]}-PD.nii.gz"
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(UserError, match=r"PD.nii.gz: found a file that cannot be read"):
    read("ixi", tmp_path)
