"""Folders of DICOM files, written by pydicom and, for real ones, by a scanner."""

import hashlib
import json
import pathlib
import shutil
import sys

import numpy as np
import pydicom
import pytest
from helpers.data_files import all_sampled, config, read, refused_when_truncated
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
  EnhancedMRImageStorage,
  ExplicitVRBigEndian,
  ExplicitVRLittleEndian,
  ImplicitVRLittleEndian,
  MRImageStorage,
  SecondaryCaptureImageStorage,
)

from kdmri_jax.data import load
from kdmri_jax.errors import UserError

AXIAL = (1, 0, 0, 0, 1, 0)
UID = "1.2.826.0.1.3680043.10.543"


def code(text, prefix="subject_"):
  return prefix + hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def dataset(array, series=1, patient="P 17", kind=MRImageStorage, **elements):
  """An MR image of stored values, [rows, columns] or [frames, rows, columns]."""
  meta = FileMetaDataset()
  meta.MediaStorageSOPClassUID = kind
  meta.MediaStorageSOPInstanceUID = f"{UID}.9.{np.abs(array).sum():.0f}"
  meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
  result = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
  result.SOPClassUID, result.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
  result.SeriesInstanceUID = f"{UID}.1{sum(patient.encode())}.{series}"
  result.SeriesNumber, result.SeriesDescription = series, "T1 MPRAGE"
  result.PatientName, result.PatientID = "Doe^Jane", patient
  result.PatientBirthDate, result.InstitutionName = "19700101", "Hill Hospital"
  result.Manufacturer, result.MagneticFieldStrength = "ACME", "1.5"
  result.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
  result.AcquisitionMatrix = [0, 6, 5, 0]
  result.Rows, result.Columns = array.shape[-2:]
  result.SamplesPerPixel, result.PhotometricInterpretation = 1, "MONOCHROME2"
  result.BitsAllocated = result.BitsStored = 16
  result.HighBit, result.PixelRepresentation = 15, int(array.min() < 0)
  result.PixelData = array.astype("<i2").tobytes()
  for name, value in elements.items():
    setattr(result, name, value)
  return result


def save(path, *arguments, **elements):
  path.parent.mkdir(parents=True, exist_ok=True)
  dataset(*arguments, **elements).save_as(path, enforce_file_format=True)


def stored(seed=0, shape=(4, 6, 5)):
  return np.random.default_rng(seed).integers(1, 4000, shape)


def plain(root, seed=0, order=(2, 0, 3, 1), **elements):
  """A series whose files are named against the order of its slices, 3 mm apart."""
  array = stored(seed)
  for place, k in enumerate(order):
    save(
      root / f"IM{place}",
      array[k],
      InstanceNumber=place + 1,
      ImagePositionPatient=[-10, 20, 3 * k - 7],
      ImageOrientationPatient=list(AXIAL),
      PixelSpacing=[1.5, 0.5],
      SliceThickness=2.5,
      **elements,
    )
  return array


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
  with pytest.raises(UserError, match=r"found the same InstanceNumber as in a.dcm"):
    read("dicom", tmp_path)


# Series and subjects


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


# Refused files


@pytest.mark.parametrize(
  ("elements", "message"),
  [
    (
      {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
      r"phase images in series 1 'T1",
    ),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, r"phase images"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "I", "SE"]}, r"imaginary images"),
    ({"ComplexImageComponent": "REAL"}, r"real images"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, r"a mosaic"),
    ({"PhotometricInterpretation": "MONOCHROME1"}, r"colours \(1 x MONOCHROME1\)"),
    (
      {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
      r"colours \(3 x RGB\)",
    ),
  ],
)
def test_only_grey_magnitude_images(tmp_path, elements, message):
  plain(tmp_path, **elements)
  with pytest.raises(UserError, match=rf"IM0: found {message}.*by include"):
    read("dicom", tmp_path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_phase_images_by_the_private_element_of_ge(tmp_path, syntax):
  for number, component in enumerate(("magnitude", "phase", "real", "imaginary")):
    image = dataset(stored()[0], ImageType=["ORIGINAL", "PRIMARY", "OTHER"])
    image.file_meta.TransferSyntaxUID, image.InstanceNumber = syntax, 1
    block = image.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x2F, "SS", number)
    image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    if component == "magnitude":
      assert len(read("dicom", tmp_path)) == 1
      continue
    with pytest.raises(UserError, match=rf"a.dcm: found {component} images"):
      read("dicom", tmp_path)


def test_several_images_of_a_slice_are_refused(tmp_path):
  plain(tmp_path)
  save(
    tmp_path / "echo2",
    stored(1)[0],
    ImagePositionPatient=[-10, 20, 2.0001 - 3],
    ImageOrientationPatient=list(AXIAL),
  )
  with pytest.raises(
    UserError, match=r"found the same place as in (IM0|echo2).*echoes"
  ):
    read("dicom", tmp_path)


def test_a_file_is_read_once_and_its_copy_is_refused(tmp_path):
  plain(tmp_path)
  (expected,) = read("dicom", tmp_path)
  (tmp_path / "latest").symlink_to("IM2")
  (tmp_path / "A").symlink_to("IM0")
  (volume,) = read("dicom", tmp_path)
  np.testing.assert_array_equal(volume.target, expected.target)
  shutil.copy(tmp_path / "IM1", tmp_path / "copy")
  with pytest.raises(UserError, match=r"the same place as in IM1.* if it is a copy"):
    read("dicom", tmp_path)


def test_directions_and_sizes_of_a_series(tmp_path):
  plain(tmp_path)
  position = {"ImagePositionPatient": [0, 0, 50], "InstanceNumber": 9}
  turned = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
  save(tmp_path / "z", stored()[0], **position, **turned)
  with pytest.raises(UserError, match=r"/z: found the direction \[0.0, 1.0.*localizer"):
    read("dicom", tmp_path)
  save(tmp_path / "z", stored()[0].T, **position)
  with pytest.raises(
    UserError, match=r"/z: found \(5, 6\) pixels, but \(6, 5\) in IM0"
  ):
    read("dicom", tmp_path)


def test_other_files(tmp_path):
  save(tmp_path / "a.dcm", stored()[0], kind=SecondaryCaptureImageStorage)
  (tmp_path / "notes.txt").write_text("no image")
  message = r"no DICOM file of MR images .*others: 1 of Secondary Capture Image"
  with pytest.raises(UserError, match=message):
    read("dicom", tmp_path)
  plain(tmp_path / "b")
  assert len(read("dicom", tmp_path)) == 1
  (tmp_path / "c.IMA").write_bytes(bytes(200))
  with pytest.raises(UserError, match=r"c.IMA: found a file that cannot be read"):
    read("dicom", tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.15, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_files(tmp_path, share):
  save(tmp_path / "a.dcm", stored(shape=(12, 10)), InstanceNumber=1)
  refused_when_truncated("dicom", tmp_path, tmp_path / "a.dcm", share)


# Real files, which pydicom brings along


def real(name, root):
  path = get_testdata_file(f"{name}.dcm", download=False)
  assert path, name
  shutil.copy(path, root / "a.dcm")
  return pydicom.dcmread(path)


@pytest.mark.parametrize(
  "name", ["MR_small", "MR_small_bigendian", "MR_small_implicit", "MR_small_RLE"]
)
def test_real_files_of_several_transfer_syntaxes(tmp_path, name):
  header = real(name, tmp_path)
  (volume,) = read("dicom", tmp_path)
  assert volume.record["transfer_syntax"] == header.file_meta.TransferSyntaxUID.name
  plain_file = pathlib.Path(get_testdata_file("MR_small.dcm", download=False))
  expected = pydicom.dcmread(plain_file).PixelData
  expected = np.frombuffer(expected, "<i2").reshape(1, 64, 64)
  np.testing.assert_array_equal(volume.target, expected)
  assert volume.record["zooms"] == [0.3125, 0.3125, 0.8]
  assert volume.record["attributes"]["EchoTime"] == 240


def test_a_compression_that_cannot_be_undone_is_named(tmp_path):
  real("MR_small_jpeg_ls_lossless", tmp_path)
  message = r"transfer syntax 'JPEG-LS Lossless Image Compression'.*pip install pylib"
  with pytest.raises(UserError, match=message):
    read("dicom", tmp_path)


def test_a_real_truncated_file(tmp_path):
  real("MR_truncated", tmp_path)
  with pytest.raises(UserError, match=r"cannot be read .*8130 vs 8192 bytes"):
    read("dicom", tmp_path)


def test_pydicom_may_be_absent(tmp_path, monkeypatch):
  plain(tmp_path)
  monkeypatch.setitem(sys.modules, "pydicom", None)
  with pytest.raises(UserError, match=r"pydicom is not installed.*'\.\[data\]'"):
    read("dicom", tmp_path)


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
