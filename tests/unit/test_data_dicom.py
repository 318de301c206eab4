"""Folders of DICOM files: places and scales of slices, series, subjects, the record."""

import json

import numpy as np
import pydicom
import pytest
from helpers.data_files import all_sampled, config, read
from helpers.dicom_files import AXIAL, UID, code, dataset, plain, save, stored
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
  EnhancedMRImageStorage,
  ExplicitVRBigEndian,
  ExplicitVRLittleEndian,
  ImplicitVRLittleEndian,
)

from kdmri_jax.data import load
from kdmri_jax.errors import UserError


def test_slices_are_sorted_by_their_place(tmp_path):
  array = plain(tmp_path / "DOE_JANE", InPlanePhaseEncodingDirection="ROW")
  (tmp_path / "README.txt").write_text("no image")
  (volume,) = read("dicom", tmp_path)
  np.testing.assert_array_equal(volume.target, array)
  assert volume.target.dtype == np.float32
  assert (volume.name, volume.subject) == (f"{code('P 17')}_1", code("P 17"))
  record = volume.record
  assert record["zooms"] == [1.5, 0.5, 3]
  towards = {"rows": "P", "columns": "L", "slices": "S"}
  assert record["axes_increase_towards"] == towards
  assert record["phase_encode_axis"] == 1 and record["unit"] == "subject"
  assert record["contrast"] == "T1 MPRAGE" and record["files"] == 4
  assert record["attributes"] == {
    "Manufacturer": "ACME",
    "MagneticFieldStrength": 1.5,
    "AcquisitionMatrix": [0, 6, 5, 0],
  }
  assert record["transfer_syntax"] == "Explicit VR Little Endian"
  assert record["simulated_kspace"] is True


@pytest.mark.parametrize("ending", ["", ".dcm"])
@pytest.mark.parametrize(
  ("syntax", "meta"),
  [
    (ExplicitVRLittleEndian, True),
    (ExplicitVRLittleEndian, False),
    (ImplicitVRLittleEndian, True),
    (ImplicitVRLittleEndian, False),
    (ExplicitVRBigEndian, True),
  ],
)
def test_files_without_preamble_are_read(tmp_path, ending, syntax, meta):
  array = plain(tmp_path, syntax=ExplicitVRLittleEndian)
  for path in sorted(tmp_path.iterdir())[:2]:
    image = pydicom.dcmread(path)
    path.unlink()
    image.preamble = None
    little = syntax is not ExplicitVRBigEndian
    if not little:
      image.PixelData = image.pixel_array.astype(">i2").tobytes()
    image.file_meta.TransferSyntaxUID = syntax
    with path.with_name(f"{path.name}{ending}").open("wb") as file:
      if meta:
        pydicom.filewriter.write_file_meta_info(file, image.file_meta)
      del image.file_meta
      kind = {"implicit_vr": syntax is ImplicitVRLittleEndian, "little_endian": little}
      pydicom.dcmwrite(file, image, **kind)
  (volume,) = read("dicom", tmp_path)
  np.testing.assert_array_equal(volume.target, array)
  assert "left out" not in volume.record["note"]


@pytest.mark.parametrize("content", [b"", b"lost", bytes(4000)])
def test_what_may_be_a_damaged_image_is_told(tmp_path, content):
  plain(tmp_path)
  (tmp_path / "notes.txt").write_text("no image")
  assert "left out" not in read("dicom", tmp_path)[0].record["note"]
  (tmp_path / "IM3").write_bytes(content)
  (volume,) = read("dicom", tmp_path)
  note = volume.record["note"]
  assert "The content of 1 of the files without an ending is not DICOM" in note
  assert "3 mm is usual, but 6 mm lie between slices 0 and 1" in note
  assert "zooms" not in volume.record and "affine" not in volume.record


def test_numbers_that_are_left_out_are_told(tmp_path):
  array = stored()
  for k, number in enumerate((1, 2, 4, 5)):
    save(tmp_path / f"IM{k}", array[k], InstanceNumber=number)
  (volume,) = read("dicom", tmp_path)
  np.testing.assert_array_equal(volume.target, array)
  assert (
    "slices 1 and 2 (from 0) have the InstanceNumbers 2 and 4"
    in (volume.record["note"])
  )


def test_nothing_about_the_patient_goes_into_the_record(tmp_path):
  plain(tmp_path / "DOE_JANE")
  (volume,) = read("dicom", tmp_path)
  text = json.dumps([volume.name, volume.subject, volume.record])
  for word in ("Doe", "Jane", "DOE", "P 17", "1970", "Hospital", "IM0", UID):
    assert word not in text


@pytest.mark.parametrize(
  ("orientation", "step", "towards"),
  [
    ((0, 1, 0, 0, 0, -1), (1, 0, 0), "I P R"),
    ((1, 0, 0, 0, 0, -1), (0, 1, 0), "I L P"),
    ((-1, 0, 0, 0, 1, 0), (0, 0, 1), "P R I"),
    ((0.8, 0.6, 0, -0.6, 0.8, 0), (0, 0, 1), "P L S"),
  ],
)
def test_planes_of_all_directions(tmp_path, orientation, step, towards):
  """`step` leads from one stored slice to the next."""
  array = stored()
  for k, image in enumerate(array):
    position = [2 * k * part + 5 for part in step]
    save(
      tmp_path / f"{9 - k}.dcm",
      image,
      ImagePositionPatient=position,
      ImageOrientationPatient=list(orientation),
    )
  (volume,) = read("dicom", tmp_path)
  normal = np.cross(orientation[:3], orientation[3:])
  assert volume.record["axes_increase_towards"] == dict(
    zip(("rows", "columns", "slices"), towards.split(), strict=True)
  )
  expected = array if normal @ step > 0 else array[::-1]
  np.testing.assert_array_equal(volume.target, expected)
  assert "zooms" not in volume.record


def test_without_positions_the_instance_numbers_sort(tmp_path):
  array = stored()
  for name, k in zip("abcd", (9, 2, 10, 1), strict=True):
    save(tmp_path / name, array[(9, 2, 10, 1).index(k)], InstanceNumber=k)
  (volume,) = read("dicom", tmp_path)
  np.testing.assert_array_equal(volume.target, array[[3, 1, 0, 2]])
  assert "axes_increase_towards" not in volume.record
  save(tmp_path / "e", array[0], InstanceNumber=2)
  with pytest.raises(UserError, match=r"/e: found the same InstanceNumber as in b"):
    read("dicom", tmp_path)
  save(tmp_path / "e", array[0])
  with pytest.raises(UserError, match=r"/e: found neither a position nor an Inst"):
    read("dicom", tmp_path)


def test_rescaling_of_each_file(tmp_path):
  array = stored(shape=(2, 6, 5)) - 1000
  for k in range(2):
    scale = {"RescaleSlope": k + 0.5, "RescaleIntercept": 3000 - k}
    save(tmp_path / f"{k}.dcm", array[k], InstanceNumber=k, **scale)
  (volume,) = read("dicom", tmp_path)
  np.testing.assert_allclose(volume.target[0], array[0] * 0.5 + 3000)
  np.testing.assert_allclose(volume.target[1], array[1] * 1.5 + 2999)


def test_multi_frame_files(tmp_path):
  """Frames in any order, place and scale frame by frame, the rest shared."""
  array, order = stored(), (1, 3, 0, 2)
  image = dataset(
    array[list(order)], kind=EnhancedMRImageStorage, NumberOfFrames=4, InstanceNumber=1
  )

  def group(**elements):
    result = Dataset()
    for name, value in elements.items():
      setattr(result, name, value)
    return result

  def sequence(**elements):
    return Sequence([group(**elements)])

  shared = group(
    PlaneOrientationSequence=sequence(ImageOrientationPatient=list(AXIAL)),
    PixelMeasuresSequence=sequence(PixelSpacing=[1.5, 0.5], SliceThickness=2.5),
    MRFOVGeometrySequence=sequence(InPlanePhaseEncodingDirection="COLUMN"),
    MRImageFrameTypeSequence=sequence(ComplexImageComponent="MAGNITUDE"),
  )
  image.SharedFunctionalGroupsSequence = Sequence([shared])
  image.PerFrameFunctionalGroupsSequence = Sequence(
    group(
      PlanePositionSequence=sequence(ImagePositionPatient=[0, 0, 4 * k]),
      PixelValueTransformationSequence=sequence(
        RescaleSlope=k + 1, RescaleIntercept=10 * k
      ),
    )
    for k in order
  )
  image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
  (volume,) = read("dicom", tmp_path)
  for k in range(4):
    np.testing.assert_array_equal(volume.target[k], array[k] * (k + 1) + 10 * k)
  assert volume.record["zooms"] == [1.5, 0.5, 4]
  assert volume.record["phase_encode_axis"] == 0
  shared.MRImageFrameTypeSequence[0].ComplexImageComponent = "PHASE"
  image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
  with pytest.raises(UserError, match=r"a.dcm: found phase images in series 1"):
    read("dicom", tmp_path)
  del image.PerFrameFunctionalGroupsSequence
  shared.MRImageFrameTypeSequence[0].ComplexImageComponent = "MAGNITUDE"
  image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
  with pytest.raises(
    UserError, match=r"found the same InstanceNumber as in another frame"
  ):
    read("dicom", tmp_path)


def test_series_are_volumes_and_contrast_chooses_them(tmp_path):
  first = plain(tmp_path / "a", series=10, SeriesDescription="T1 MPRAGE")
  second = plain(tmp_path / "b", 1, series=2, SeriesDescription="t2_tse")
  third = plain(tmp_path / "b" / "c", 2, series=2, patient="Q", SeriesDescription="T2")
  got = read("dicom", tmp_path)
  names = [f"{code('P 17')}_2", f"{code('P 17')}_10", f"{code('Q')}_2"]
  assert sorted(v.name for v in got) == sorted(names)
  arrays = dict(zip(names, (second, first, third), strict=True))
  for volume in got:
    np.testing.assert_array_equal(volume.target, arrays[volume.name])
  for contrast, expected in (
    ("T2*", [names[0], names[2]]),
    ("10", names[1:2]),
    ("t1 mprage", names[1:2]),
  ):
    chosen = {v.name for v in read("dicom", tmp_path, contrast=contrast)}
    assert chosen == set(expected)
  (only,) = read("dicom", tmp_path, include=("*_10",))
  assert only.name == names[1]
  with pytest.raises(UserError, match=r"'PD'.*10 'T1 MPRAGE', 2 'T2', 2 't2_tse'"):
    read("dicom", tmp_path, contrast="PD")


def test_two_series_of_one_number_have_different_names(tmp_path):
  plain(tmp_path / "a", SeriesInstanceUID=f"{UID}.77")
  plain(tmp_path / "b", 1, SeriesInstanceUID=f"{UID}.78")
  names = {v.name for v in read("dicom", tmp_path)}
  assert names == {f"{code('P 17')}_1_{code(f'{UID}.{k}', '')}" for k in (77, 78)}


def test_subjects_without_number(tmp_path):
  plain(tmp_path / "sub7", patient="")
  with pytest.raises(UserError, match=r"IM0: found no PatientID.*subject_pattern"):
    read("dicom", tmp_path)
  (volume,) = read("dicom", tmp_path, subject_pattern=r"sub\d")
  assert (volume.subject, volume.name) == ("sub7", "sub7_1")


def test_loaded_with_subjects(tmp_path):
  arrays = {
    name: plain(tmp_path / name, k, patient=name) for k, name in enumerate("XYZ")
  }
  settings = config(
    source="dicom", root=str(tmp_path), validation=(code("Y"),), scaling="none"
  )
  data = load(settings, all_sampled)
  assert data.record["unit"] == "subject" and data.record["simulated_kspace"]
  np.testing.assert_array_equal(data.validation.parts[0].target[..., 0], arrays["Y"])
