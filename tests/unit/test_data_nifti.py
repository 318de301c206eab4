"""The readers of NIfTI folders and of ACDC."""

import json
import shutil
import sys

import nibabel
import numpy as np
import pytest
from helpers.data_files import read, save_nifti, stack

from kdmri_jax.config import DataConfig
from kdmri_jax.errors import UserError
from kdmri_jax.inference import read_scan
from kdmri_jax.io.nifti import read_nifti, write_nifti

# NIfTI


def test_nifti_keeps_the_stored_axes_and_records_them(tmp_path):
  array = stack()
  affine = np.diag([-2.0, -1.5, 3.0, 1.0])
  save_nifti(tmp_path / "site" / "scan one.nii.gz", array, affine)
  (volume,) = read("nifti", tmp_path)
  np.testing.assert_array_equal(volume.target[2], array[:, :, 2])
  assert (volume.name, volume.subject) == ("site_scan_one", "site_scan one")
  towards = {"rows": "L", "columns": "P", "slices": "S"}
  assert volume.record["axes_increase_towards"] == towards
  assert volume.record["zooms"] == [2.0, 1.5, 3.0]
  assert volume.record["affine"] == affine.tolist()
  assert volume.split is None
  json.dumps(volume.record)


def test_without_a_matrix_no_directions_are_claimed(tmp_path):
  plain = nibabel.Nifti1Image(stack(), None)
  nibabel.save(plain, tmp_path / "a.nii")
  plain.header.set_sform(np.diag([1.0, 0, 1, 1]), code=1)
  nibabel.save(nibabel.Nifti1Image(stack(1), None, plain.header), tmp_path / "b.nii")
  for volume in read("nifti", tmp_path):
    assert not {"axes_increase_towards", "affine"} & set(volume.record)


def test_nifti_applies_the_scaling_of_the_file(tmp_path):
  image = nibabel.Nifti1Image(stack().astype(np.int16), np.eye(4))
  image.header.set_slope_inter(0.5, 2)
  nibabel.save(image, tmp_path / "a.nii")
  (volume,) = read("nifti", tmp_path)
  stored = np.asanyarray(nibabel.load(tmp_path / "a.nii").dataobj.get_unscaled())
  slope_inter = nibabel.load(tmp_path / "a.nii").dataobj
  expected = stored[..., 1] * slope_inter.slope + slope_inter.inter
  np.testing.assert_allclose(volume.target[1], expected)


def test_nifti_folders_are_the_split(tmp_path):
  for k, part in enumerate(("train", "validation", "test", "other")):
    save_nifti(tmp_path / part / f"p{k}.nii.gz", stack(k))
  got = {(v.name, v.split) for v in read("nifti", tmp_path)}
  assert got == {("p0", "train"), ("p1", "validation"), ("p2", "test")}


def test_an_empty_folder_of_a_split_is_no_split(tmp_path):
  for k, part in enumerate(("train", "validation")):
    save_nifti(tmp_path / part / f"p{k}.nii", stack(k))
  (tmp_path / "test").mkdir()
  got = {(v.name, v.split) for v in read("nifti", tmp_path)}
  assert got == {("p0", "train"), ("p1", "validation")}


def test_each_nifti_file_counts_as_a_subject(tmp_path):
  paths = ("scan.1.nii", "p0/T1.nii.gz", "p1/T1.nii", "p1/T1.a.nii")
  for k, name in enumerate(paths):
    save_nifti(tmp_path / name, stack(k))
  found = [v.subject for v in read("nifti", tmp_path)]
  assert found == ["p0_T1", "p1_T1.a", "p1_T1", "scan.1"]
  for part, subject in (("train", "a"), ("train", "b"), ("validation", "c")):
    save_nifti(tmp_path / "split" / part / subject / "T1.nii", stack())
  found = [(v.subject, v.split) for v in read("nifti", tmp_path / "split")]
  expected = [("a_T1", "train"), ("b_T1", "train"), ("c_T1", "validation")]
  assert found == expected


def test_nifti_order_include_and_hidden_files(tmp_path):
  for name in ("b", "a", "c", ".c"):
    save_nifti(tmp_path / f"{name}.nii", stack())
  assert [v.name for v in read("nifti", tmp_path)] == ["a", "b", "c"]
  assert [v.name for v in read("nifti", tmp_path, include=("[bc]",))] == ["b", "c"]


def test_subject_pattern(tmp_path):
  for name in ("pat01_s1", "pat01_s2", "pat02_s1"):
    save_nifti(tmp_path / f"{name}.nii", stack())
  found = [v.subject for v in read("nifti", tmp_path, subject_pattern=r"pat(\d+)_")]
  assert found == ["01", "01", "02"]
  named = read("nifti", tmp_path, subject_pattern=r"pat\d+")
  assert [v.subject for v in named] == ["pat01", "pat01", "pat02"]
  assert {v.record["unit"] for v in named} == {"subject"}
  assert {v.record["unit"] for v in read("nifti", tmp_path)} == {"file"}
  with pytest.raises(UserError, match=r"in which subject_pattern 'x' finds nothing"):
    read("nifti", tmp_path, subject_pattern="x")
  with pytest.raises(UserError, match=r"which is not a regular expression"):
    read("nifti", tmp_path, subject_pattern="(")


def test_nifti_dimensions(tmp_path):
  save_nifti(tmp_path / "a.nii", stack(shape=(6, 5, 3, 1)))
  assert read("nifti", tmp_path)[0].target.shape == (3, 6, 5)
  save_nifti(tmp_path / "b.nii", stack(shape=(6, 5, 3, 2)))
  with pytest.raises(UserError, match=r"b.nii: found an array of shape \(6, 5, 3, 2\)"):
    read("nifti", tmp_path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0, 100, 0.6])
def test_nifti_truncated(tmp_path, suffix, keep):
  path = tmp_path / f"a{suffix}"
  save_nifti(path, stack(shape=(32, 32, 9)))
  data = path.read_bytes()
  path.write_bytes(data[: keep if keep != 0.6 else int(0.6 * len(data))])
  with pytest.raises(UserError, match=rf"a{suffix}: found a file that cannot be read"):
    read("nifti", tmp_path)


@pytest.mark.parametrize("image", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(
  ("name", "other"), [("a.nii", "a.nii.gz"), ("a.nii.gz", "a.nii")]
)
def test_the_content_tells_whether_a_file_is_compressed(tmp_path, image, name, other):
  array = stack(shape=(9, 8, 3))
  nibabel.save(image(array, np.diag([2, 3, 4, 1])), tmp_path / name)
  expected, record = read_nifti(tmp_path / name)
  (tmp_path / name).rename(tmp_path / other)
  images, moved = read_nifti(tmp_path / other)
  np.testing.assert_array_equal(images, expected)
  assert moved == record | {"file": str(tmp_path / other)}
  write_nifti(tmp_path / f"out_{other}", np.ones((3, 9, 8), np.float32), moved)
  again = nibabel.load(tmp_path / f"out_{other}")
  np.testing.assert_array_equal(again.affine, np.diag([2, 3, 4, 1]))


def test_nifti_damaged_in_the_middle(tmp_path):
  path = tmp_path / "a.nii.gz"
  save_nifti(path, stack(shape=(32, 32, 9)))
  data = bytearray(path.read_bytes())
  data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
  path.write_bytes(data)
  with pytest.raises(UserError, match=r"cannot be read"):
    read("nifti", tmp_path)


# ACDC


def acdc_patient(folder, number, frames=(1, 9)):
  name = f"patient{number:03d}"
  for k, frame in enumerate(frames):
    save_nifti(
      folder / name / f"{name}_frame{frame:02d}.nii.gz", stack(10 * number + k)
    )
    save_nifti(folder / name / f"{name}_frame{frame:02d}_gt.nii.gz", stack())
  info = f"ED: {frames[0]}\nES: {frames[1]}\nGroup: DCM\nNbFrame: 30\n"
  (folder / name / "Info.cfg").write_text(info)
  return folder / name


@pytest.mark.parametrize("inner", [False, True])
def test_acdc_layout(tmp_path, inner):
  acdc_patient(tmp_path / "training", 1)
  acdc_patient(tmp_path / "training", 2, frames=(1, 12))
  acdc_patient(tmp_path / "testing", 101)
  got = read("acdc", tmp_path / "training" if inner else tmp_path)
  names = ["patient001_frame01", "patient001_frame09"]
  names += ["patient002_frame01", "patient002_frame12"]
  names += [] if inner else ["patient101_frame01", "patient101_frame09"]
  assert [v.name for v in got] == names
  assert got[1].subject == "patient001"
  assert {v.split for v in got} == {None}
  assert [v.record["phase"] for v in got[:2]] == ["ED", "ES"]
  assert got[-1].record["folder"] == ("training" if inner else "testing")
  np.testing.assert_array_equal(got[1].target, np.moveaxis(stack(11), 2, 0))


def test_acdc_takes_a_missing_frame_from_the_series(tmp_path):
  patient = acdc_patient(tmp_path, 1, frames=(1, 4))
  (patient / "patient001_frame04.nii.gz").unlink()
  with pytest.raises(UserError, match=r"neither patient001_frame04.nii.gz nor"):
    read("acdc", tmp_path)
  series = stack(5, (6, 5, 3, 4))
  save_nifti(patient / "patient001_4d.nii.gz", series)
  volume = read("acdc", tmp_path)[1]
  assert volume.name == "patient001_frame04"
  np.testing.assert_array_equal(volume.target, np.moveaxis(series[..., 3], 2, 0))
  save_nifti(patient / "patient001_4d.nii.gz", series[..., :3])
  with pytest.raises(UserError, match=r"expected 4 frames or more"):
    read("acdc", tmp_path)


@pytest.mark.parametrize(
  "text", [None, "ED: 1\n", "ED: one\nES: 9\n", "ED: 0\nES: 9\n"]
)
def test_acdc_info(tmp_path, text):
  info = acdc_patient(tmp_path, 1) / "Info.cfg"
  info.unlink()
  if text is not None:
    info.write_text(text)
  with pytest.raises(UserError, match=r"Info.cfg: found no"):
    read("acdc", tmp_path)


def test_acdc_info_with_a_byte_order_mark(tmp_path):
  info = acdc_patient(tmp_path, 1) / "Info.cfg"
  info.write_bytes(b"\xef\xbb\xbf" + info.read_bytes().replace(b"\n", b"\r\n"))
  names = [volume.name for volume in read("acdc", tmp_path)]
  assert names == ["patient001_frame01", "patient001_frame09"]


# Real images


@pytest.mark.data
def test_real_acdc(real_data, tmp_path):
  for number in (1, 2):
    patient = f"patient{number:03d}"
    shutil.copytree(real_data / "acdc" / "training" / patient, tmp_path / patient)
  got = read("acdc", tmp_path)
  assert [v.name for v in got[:2]] == ["patient001_frame01", "patient001_frame12"]
  assert got[0].target.shape[1:] == (176, 176)


@pytest.mark.data
def test_real_brain_axes(real_data):
  (volume,) = read("nifti", real_data / "brain_t1", include=("patient04*",))
  assert volume.target.shape == (48, 256, 256)
  assert volume.record["axes_increase_towards"]["rows"] == "L"


def test_nibabel_may_be_absent(tmp_path, monkeypatch):
  save_nifti(tmp_path / "a.nii", stack())
  monkeypatch.setitem(sys.modules, "nibabel", None)
  with pytest.raises(UserError, match=r"nibabel is not installed.*'\.\[data\]'"):
    read("nifti", tmp_path)


@pytest.mark.parametrize("pair", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("ending", [".hdr", ".img", ".HDR", ".IMG"])
def test_a_pair_of_header_and_image_is_nifti(tmp_path, pair, ending):
  array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
  affine = np.array([[0, -2, 0, 9], [3, 0, 0, -8], [0, 0, 4, 7], [0, 0, 0, 1.0]])
  nibabel.save(pair(array, affine), tmp_path / "a.img")
  if ending.isupper():
    for name in ("a.hdr", "a.img"):
      (tmp_path / name).rename(tmp_path / f"a{name[1:].upper()}")
  path = tmp_path / f"a{ending}"
  assert read_scan.source_of(path) == "nifti"
  scan = read_scan.read(path, DataConfig(source="phantom"))
  np.testing.assert_array_equal(scan.target, np.moveaxis(array, 2, 0))
  write_nifti(tmp_path / "out.nii", 2 * np.float32(scan.target), scan.record)
  out = nibabel.load(tmp_path / "out.nii")
  np.testing.assert_array_equal(out.affine, affine)
  np.testing.assert_array_equal(out.get_fdata(), 2 * array)
