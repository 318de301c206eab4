"""Damaged and hostile files: each is refused, in little time and memory."""

import gzip
import os
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest
from helpers import ismrmrd_files, scan_files
from helpers.refusing import HUGE, IMAGES, refused

from kdmri_jax import lookup
from kdmri_jax.errors import UserError
from kdmri_jax.inference.load import read_shapes
from kdmri_jax.interop import torch_file
from kdmri_jax.io import dicom, h5, volume_files
from kdmri_jax.io.cfl import read_cfl
from kdmri_jax.io.ismrmrd import scan
from kdmri_jax.io.mat import read_mat
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.numpy_files import read_npy, read_npz
from kdmri_jax.training import log, records
from kdmri_jax.training.checkpoint import Checkpoints


def test_archive_that_unpacks_to_gigabytes(tmp_path):
  path = tmp_path / "a.npz"
  np.savez_compressed(path, image=np.zeros((100, 1000, 1000), "u1"))
  refused(read_npz, path, "for an array of")
  refused(volume_files.read_volume, path, "for an array of")


def test_archive_with_a_member_that_is_no_array(tmp_path):
  path = tmp_path / "a.npz"
  np.savez(path, other=IMAGES)
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("image.npy", b"\x93NUMPX" + bytes(200))
  refused(read_npz, path, "'image', which is no array")
  refused(volume_files.read_volume, path, "'image', which is no array")
  np.testing.assert_array_equal(volume_files.read_volume(path, key="other")[0], IMAGES)


def test_archive_with_texts_of_no_characters(tmp_path):
  path, subjects = tmp_path / "a.npz", np.array(["a", "b", "c", "d"])
  for number in (0x110000, 0xD800):
    subjects.view(np.uint32)[2] = number
    np.savez(path, image=IMAGES, subject=subjects)
    refused(read_npz, path, "cannot be read")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_that_claims_gigabytes(tmp_path, name):
  path, header = tmp_path / name, nibabel.Nifti1Header()
  header.set_data_shape(HUGE)
  content = header.binaryblock + bytes(400)
  path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
  refused(read_nifti, path, "bytes for an array of 1500 x 1500 x 1500 values")


def series(folder, **elements):
  """One file of a series of images, and a reader of both of its parts."""
  phantom = scan_files.PHANTOM[:1]
  folder.mkdir(exist_ok=True)
  scan_files.save_dicom(folder / "series", phantom, **elements)
  return next((folder / "series").iterdir())


def read_dicom(path):
  dicom.read_header(path)
  return dicom.read_pixels(path)


def test_dicom_that_claims_gigabytes(tmp_path):
  path = series(tmp_path / "whole", Rows=10)
  np.testing.assert_array_equal(read_dicom(path), scan_files.PHANTOM[:1])
  for k, claims in enumerate(
    ({"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 2**31 - 1})
  ):
    refused(read_dicom, series(tmp_path / str(k), **claims), "bytes for an array of")


def test_dicom_that_unpacks_to_gigabytes(tmp_path):
  path = series(tmp_path)
  file = pydicom.dcmread(path)
  file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
  file.save_as(path, enforce_file_format=True)
  np.testing.assert_array_equal(read_dicom(path), scan_files.PHANTOM[:1])
  file.add_new(0x00091001, "OB", bytes(150 << 20))
  file.save_as(path, enforce_file_format=True)
  assert path.stat().st_size < 1 << 20
  refused(read_dicom, path, "bytes for an array of")


@pytest.mark.parametrize(
  "elements",
  [
    {"ImagePositionPatient": [1, 2]},
    {"ImageOrientationPatient": [1, 0, 0]},
    {"PixelSpacing": [1, 1, 1]},
  ],
)
def test_dicom_with_too_few_numbers_or_too_many(tmp_path, elements):
  refused(read_dicom, series(tmp_path, **elements), r"in the place of \d numbers")


@pytest.mark.parametrize(
  ("slices", "limits"), [(1, (0, 10**8, 5 * 10**7)), (30, (0, 50000, 25000))]
)
def test_raw_data_that_claims_gigabytes(tmp_path, slices, limits):
  lines = np.ones((slices, 1, 1, 6), np.complex64)
  head = ismrmrd_files.header((6, 5), (6, 5), limits)
  ismrmrd_files.save(tmp_path / "a.h5", head, ismrmrd_files.readouts(lines))
  with pytest.raises(UserError, match="bytes for an array of"):
    scan.opened(tmp_path / "a.h5", "", partial=True).__enter__()


@pytest.mark.parametrize(
  "shape", [b"(-4, 8, 8)", b"(40000, 8, 8)", b"(True, 8)", b"(9**9**9,)", b"((((((("]
)
def test_header_of_npy(tmp_path, shape):
  path = tmp_path / "a.npy"
  np.save(path, IMAGES)
  np.testing.assert_array_equal(read_npy(path), IMAGES)
  content = path.read_bytes()
  path.write_bytes(content.replace(b"(4, 8, 8)", shape.ljust(9)))
  refused(read_npy, path, "cannot be read")


def test_numbers_of_thousands_of_digits(tmp_path):
  (tmp_path / "a.hdr").write_text(f"# Dimensions\n{'9' * 5000} 1\n")
  (tmp_path / "a.cfl").write_bytes(bytes(8))
  refused(read_cfl, tmp_path / "a.hdr", "the dimensions 999")


@pytest.mark.parametrize(
  ("name", "read"),
  [
    ("a.h5", h5.read_images),
    ("a.npz", read_npz),
    ("a.npy", read_npy),
    ("a.nii", read_nifti),
    ("a.hdr", read_cfl),
    ("a.mat", lambda path: read_mat(path, "mask")),
    ("a.pt", torch_file.read),
    ("a.json", lambda path: records.read(path, "")),
    ("a.jsonl", log.read),
  ],
)
def test_named_pipe(tmp_path, name, read):
  os.mkfifo(tmp_path / name)
  refused(read, tmp_path / name, "a named pipe")


def test_named_pipe_in_a_checkpoint(tmp_path):
  path = tmp_path / "1" / "best" / "manifest.ocdbt"
  path.parent.mkdir(parents=True)
  os.mkfifo(path)
  with pytest.raises(UserError, match=r"manifest\.ocdbt: found a named pipe"):
    Checkpoints(tmp_path, read_only=True)


def test_damaged_lines_of_a_log(tmp_path):
  good = '{"event": "audit", "step": 3, "terms": {}}'
  lines = ['{"step": "a"}', '{"step": [1]}', "[" * 10**5, '{"step": 1', "5"]
  lines += ['{"step": %s}' % ("9" * 5000), '{"event": "epoch", "step": 1}', good]
  (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
  assert log.read(tmp_path / "metrics.jsonl") == [
    {"event": "audit", "step": 3, "terms": {}}
  ]


@pytest.mark.parametrize(
  "text", ['{"shapes": [1]}', '{"shapes": {"a": 1}}', '{"shapes": ' + "[" * 10**5]
)
def test_damaged_record_of_the_data(tmp_path, text):
  (tmp_path / "dataset.json").write_text(text)
  with pytest.raises(UserError, match=r"dataset\.json: found"):
    read_shapes(tmp_path)


@pytest.mark.parametrize("name", [".x:Y", "..:a", "antigravity_:x", "json:nothing"])
def test_import_path_that_is_none(name):
  with pytest.raises(UserError, match="an import path"):
    lookup.find("network", name, {})
