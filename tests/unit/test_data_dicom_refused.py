"""DICOM files that are refused, and real ones that pydicom brings along."""

import pathlib
import shutil
import sys

import numpy as np
import pydicom
import pytest
from helpers.data_files import read, refused_when_truncated
from helpers.dicom_files import AXIAL, dataset, plain, save, stored
from pydicom.data import get_testdata_file
from pydicom.uid import (
  ExplicitVRLittleEndian,
  ImplicitVRLittleEndian,
  SecondaryCaptureImageStorage,
)

from kdmri_jax.errors import UserError


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
