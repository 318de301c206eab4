"""Output files of `scripts/reconstruct.py`, and their evaluation."""

import gzip

import h5py
import nibabel
import numpy as np
import pytest
from helpers.centred import dft
from helpers.data_files import read as read_source
from helpers.scan_files import (
  AFFINE,
  PHANTOM,
  read,
  save_dicom,
  save_fastmri,
  save_nifti,
)

from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.inference import write_scan
from kdmri_jax.io import volume_files
from kdmri_jax.io.nifti import read_nifti


def write(path, phantom, record, form=""):
  form = write_scan.check_target(path, form)
  write_scan.write(path, {"reconstruction": phantom.astype(np.float32)}, record, form)


@pytest.mark.parametrize("image", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_lies_over_its_input(tmp_path, image, suffix):
  save_nifti(tmp_path / "a.nii", PHANTOM, image)
  scan = read(tmp_path / "a.nii")
  write(tmp_path / f"b{suffix}", scan.target + 0.5, scan.record)
  a, b = nibabel.load(tmp_path / "a.nii"), nibabel.load(tmp_path / f"b{suffix}")
  assert type(b) is image and b.get_data_dtype() == np.float32
  np.testing.assert_array_equal(b.get_fdata(), a.get_fdata() + 0.5)
  np.testing.assert_array_equal(b.affine, a.affine)
  for get in ("get_sform", "get_qform"):
    for one, other in zip(
      getattr(a.header, get)(coded=True),
      getattr(b.header, get)(coded=True),
      strict=True,
    ):
      np.testing.assert_array_equal(one, other)
  assert b.header.get_xyzt_units() == ("mm", "sec")
  assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii", f"b{suffix}"]
  if suffix == ".nii.gz":
    assert gzip.decompress((tmp_path / "b.nii.gz").read_bytes())


def test_slices_in_front(tmp_path):
  first = nibabel.Nifti1Image(PHANTOM.astype(np.int16), AFFINE)
  nibabel.save(first, tmp_path / "CC0001_philips_15_55_M.nii.gz")
  path = tmp_path / "CC0001_philips_15_55_M.nii.gz"
  scan = read(path, source="calgary_campinas")
  np.testing.assert_array_equal(scan.target, PHANTOM)
  write(tmp_path / "b.nii", scan.target, scan.record)
  np.testing.assert_array_equal(nibabel.load(tmp_path / "b.nii").get_fdata(), PHANTOM)


@pytest.mark.parametrize(
  "index", [np.s_[..., 0], np.s_[..., None], np.s_[..., None, None]]
)
def test_other_numbers_of_axes(tmp_path, index):
  array = PHANTOM[index].astype(np.int16)
  nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / "c.nii")
  scan = read(tmp_path / "c.nii")
  assert len(scan.record["zooms"]) == scan.target.ndim == 3
  write(tmp_path / "d.nii", scan.target, scan.record)
  result = nibabel.load(tmp_path / "d.nii")
  np.testing.assert_array_equal(result.get_fdata(), array)
  np.testing.assert_allclose(result.affine, AFFINE, atol=1e-6)


def test_nifti_lies_over_a_dicom_series(tmp_path):
  save_dicom(tmp_path / "series", PHANTOM)
  scan = read(tmp_path / "series")
  write(tmp_path / "b.nii", scan.target, scan.record)
  b = nibabel.load(tmp_path / "b.nii")
  np.testing.assert_allclose(b.affine, AFFINE, atol=1e-5)
  assert b.header["sform_code"] == 1
  np.testing.assert_array_equal(b.get_fdata(), np.moveaxis(PHANTOM, 0, 2))
  images, record = read_nifti(tmp_path / "b.nii")
  np.testing.assert_array_equal(images, PHANTOM)
  assert record["axes_increase_towards"] == scan.record["axes_increase_towards"]


@pytest.mark.parametrize(("at", "known"), [([0, 1, 2], True), ([0, 1, 2.5], False)])
def test_unequal_slices_have_no_matrix(tmp_path, at, known):
  for k, place in enumerate(at):
    elements = {"ImagePositionPatient": [0, 0, place], "SeriesInstanceUID": "1.9"}
    elements["ImageOrientationPatient"] = [1, 0, 0, 0, 1, 0]
    save_dicom(tmp_path / str(k), np.ones((1, 3, 4)), **elements)
  (volume,) = read_source("dicom", tmp_path)
  assert ("affine" in volume.record) == known


def test_without_a_place_no_matrix_is_claimed(tmp_path):
  write(tmp_path / "b.nii", PHANTOM, {"zooms": [2, 3, 4]})
  header = nibabel.load(tmp_path / "b.nii").header
  assert header["sform_code"] == header["qform_code"] == 0
  assert header.get_zooms() == (2, 3, 4)


@pytest.mark.parametrize(
  ("along", "shape"), [(13, (10, 9, *[1] * 11, 3)), (2, (10, 9, 3)), (0, (3, 10, 9))]
)
def test_cfl_has_the_dimensions_of_its_input(tmp_path, along, shape):
  write(tmp_path / "b.cfl", PHANTOM, {"slices_along_dimension": along})
  header = (tmp_path / "b.hdr").read_text().splitlines()[1].split()
  assert [int(n) for n in header][: len(shape)] == list(shape)
  numbers = np.frombuffer((tmp_path / "b.cfl").read_bytes(), "<c8")
  ordered = PHANTOM if along == 0 else np.moveaxis(PHANTOM, 0, 2)
  np.testing.assert_array_equal(numbers, ordered.ravel(order="F"))


@pytest.mark.parametrize("columns", [{}, {"mask": np.ones(9)}])
def test_h5_has_the_header_of_raw_data(tmp_path, columns):
  text = "<ismrmrdHeader/>"
  save_fastmri(tmp_path / "a.h5", dft(PHANTOM, 1, 2), ismrmrd_header=text, **columns)
  attributes = {"patient_id": "P1", "max": 0.5, "unit": "µT", "sizes": [3, 9]}
  with h5py.File(tmp_path / "a.h5", "a") as file:
    file.attrs.update(attributes)
  scan = read(tmp_path / "a.h5")
  images = {"reconstruction": PHANTOM}
  write_scan.write(tmp_path / "b.h5", images, scan.record, "h5", scan.header)
  with h5py.File(tmp_path / "b.h5") as file:
    assert sorted(file) == ["ismrmrd_header", "reconstruction"]
    assert file["ismrmrd_header"].asstr()[()] == text
    found = {name: np.array(value).tolist() for name, value in file.attrs.items()}
  assert found == attributes | {"units": "file"}


@pytest.mark.parametrize(
  ("name", "form", "message"),
  [
    ("there.h5", "", "there.h5: found a file there"),
    ("there.hdr", "", "there.cfl: found a file there"),
    ("new.nii", "h5", "--format: found h5 for new.nii"),
    ("new.h5", "cfl", "--format: found cfl for new.h5"),
    ("new", "nifti", "or a name that ends in .nii or .nii.gz"),
    ("new.h5", "png", "--format: found 'png'"),
  ],
)
def test_targets_that_are_refused(tmp_path, name, form, message):
  for there in ("there.h5", "there.cfl"):
    (tmp_path / there).write_text("mine")
  with pytest.raises(UserError, match=message), arguments_of("--"):
    write_scan.check_target(tmp_path / name, form)
  assert write_scan.check_target(tmp_path / "new.cfl", "") == "cfl"
  assert write_scan.check_target(tmp_path / "new", "") == "h5"


# Measured again


def test_folders_of_all_formats_are_measured_alike(tmp_path):
  for form in ("h5", "nii.gz", "cfl"):
    write(tmp_path / f"a.{form}", PHANTOM, {})
  np.savez(tmp_path / "a.npz", image=PHANTOM * 1j)
  for form in ("h5", "nii.gz", "cfl", "npz"):
    for role in (volume_files.TARGET, volume_files.PREDICTION):
      stored = volume_files.read_volume(tmp_path / f"a.{form}", role)
      np.testing.assert_array_equal(stored.images, PHANTOM)
      assert stored.images.dtype == np.float64 and stored.subject == ""
  with pytest.raises(
    UserError, match=r"found a.cfl and a.h5; expected one file per vol"
  ):
    volume_files.find(tmp_path)
