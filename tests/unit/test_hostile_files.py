"""Damaged and hostile files: each is refused, in little time and memory."""

import gzip
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import scipy.io
import scipy.sparse
from helpers import ismrmrd_files, scan_files
from helpers.marks import slow

from kdmri_jax import lookup
from kdmri_jax.errors import UserError
from kdmri_jax.inference.load import read_shapes
from kdmri_jax.interop import load_vgg, torch_file
from kdmri_jax.io import dicom, h5, h5_check, volume_files
from kdmri_jax.io.cfl import read_cfl
from kdmri_jax.io.ismrmrd import scan
from kdmri_jax.io.mat import contents, read_mat
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.numpy_files import read_npy, read_npz
from kdmri_jax.io.reading import available_memory
from kdmri_jax.training import log, records
from kdmri_jax.training.checkpoint import Checkpoints

HUGE = (1500, 1500, 1500)
IMAGES = np.random.default_rng(0).uniform(0.1, 1, (4, 8, 8))


def refused(read, path, found):
  with pytest.raises(UserError, match=found) as error:
    read(path)
  assert str(path) in str(error.value)


def h5_with(path, make):
  with h5py.File(path, "w") as file:
    make(file)
  return path


def test_sparse_matrix_of_matlab(tmp_path):
  path, matrix = tmp_path / "mask.mat", scipy.sparse.csc_matrix(np.eye(8))
  scipy.io.savemat(path, {"mask": matrix})
  np.testing.assert_array_equal(read_mat(path, "mask")[0], np.eye(8))
  for wrong in (8, -1, 10**6):
    matrix.indices[3] = wrong
    scipy.io.savemat(path, {"mask": matrix})
    refused(lambda p: read_mat(p, "mask"), path, "entries outside")
  scipy.io.savemat(path, {"mask": scipy.sparse.csc_matrix(np.eye(8))})
  content, starts = path.read_bytes(), list(range(9))
  for place, wrong, found in ((2, 9, "columns"), (0, 1, "columns"), (8, 9, "outside")):
    changed = [*starts[:place], wrong, *starts[place + 1 :]]
    old, new = (struct.pack("<9i", *numbers) for numbers in (starts, changed))
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    refused(lambda p: read_mat(p, "mask"), path, found)
  scipy.io.savemat(path, {"mask": scipy.sparse.csc_matrix((10**5, 10**5))})
  refused(lambda p: read_mat(p, "mask"), path, "100000 x 100000 values")


@pytest.mark.parametrize("packed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, packed):
  path, rng = tmp_path / "a.mat", np.random.default_rng(0)
  for kind in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", "c8", "c16"):
    for shape in ((3, 4), (2, 3, 5), (0, 3)):
      array = (50 * rng.normal(size=shape)).astype(kind)
      array = array + array.dtype.type(1j) if kind[0] == "c" else array
      others = {"text": "abc", "cells": np.array([1, "a"], object), "more": {"x": 1}}
      scipy.io.savemat(path, {"a": array} | others, do_compression=packed)
      (found,), expected = read_mat(path, "a"), scipy.io.loadmat(path)["a"]
      assert found.dtype == expected.dtype
      np.testing.assert_array_equal(found, expected)
    assert contents(path) == "a (0, 3), cells (1, 2), more (1, 1), text (1, 3)"
    refused(lambda p: read_mat(p, "text"), path, "no array 'text'")
  for kind in ("f8", "c16"):
    matrix = scipy.sparse.random(30, 20, 0.2, "csc", kind, rng=rng)
    scipy.io.savemat(path, {"a": matrix}, do_compression=packed)
    np.testing.assert_array_equal(read_mat(path, "a")[0], matrix.toarray())


def test_matlab_file_of_a_machine_with_the_other_byte_order(tmp_path):
  path, tag = tmp_path / "a.mat", struct.Struct(">II").pack
  flags, sizes = tag(6, 8) + tag(6, 0), tag(5, 8) + tag(2, 3)
  values = tag(9, 48) + np.arange(6, dtype=">f8").tobytes()
  body = flags + sizes + struct.pack(">HHs3x", 1, 1, b"a") + values
  path.write_bytes(
    b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI" + tag(14, len(body)) + body
  )
  np.testing.assert_array_equal(read_mat(path, "a")[0], [[0, 2, 4], [1, 3, 5]])


def test_matlab_file_of_version_4(tmp_path):
  path, matrix = tmp_path / "a.mat", scipy.sparse.random(9, 8, 0.3, rng=0)
  scipy.io.savemat(path, {"a": IMAGES[0], "b": matrix}, format="4")
  first, second = read_mat(path, "a", "b")
  np.testing.assert_array_equal(first, IMAGES[0])
  np.testing.assert_array_equal(second, matrix.toarray())


@pytest.mark.parametrize("opcode", [b"r" + struct.pack("<I", 2**28), b"p99999999\n"])
def test_memo_of_a_pickle(tmp_path, opcode):
  path = tmp_path / "weights.pt"
  path.write_bytes(b"\x80\x02]" + opcode + b".")
  refused(torch_file.read, path, "no magic number")


def doubled(last):
  """A pickle's opcodes of 60 pairs, each of which holds the one before twice."""
  begin = {"t": b")", "l": b"]"}[last] + b"q\0"
  pair = {"t": b"h%ch%c\x86q%c", "l": b"](h%ch%ceq%c"}[last]
  return begin + b"".join(pair % (k, k, k + 1) for k in range(60))


def test_pickle_of_a_few_bytes_that_takes_years(tmp_path):
  path = tmp_path / "weights.pt"
  keys = {
    "a key of a dict": b"}h\x3cNs",
    "keys": b"}(h\x3cNu",
    "another dict": b"(h\x3cNd",
    "a set": b"\x8f(h\x3c\x90",
    "a frozen set": b"(h\x3c\x91",
    "a storage": b"(X\7\0\0\0storagectorch\nFloatStorage\nh\x3cX\3\0\0\0cpuK\1tQ",
  }
  magic = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
  for key in keys.values():
    body = b"\x80\4" + doubled("t") + key + b"."
    path.write_bytes(b"".join([*magic, body]))
    refused(torch_file.read, path, "a key of type tuple")
  body = b"\x80\4" + doubled("l") + b"}X\x11\0\0\0features.0.weighth\x3cs."
  path.write_bytes(b"".join([*magic, body, pickle.dumps([], 2)]))
  refused(load_vgg, path, "no features.0.weight")


def test_tensors_of_a_checkpoint_share_their_storage(tmp_path):
  path = tmp_path / "weights.pt"
  torch_file.write(path, {"a": np.float32(IMAGES[0])})
  np.testing.assert_array_equal(torch_file.read(path)["a"], np.float32(IMAGES[0]))


@pytest.mark.parametrize("chunks", [None, (10, 100, 100)])
def test_h5_that_was_never_written(tmp_path, chunks):
  path = h5_with(
    tmp_path / "a.h5",
    lambda file: file.create_dataset("target", HUGE, "f4", chunks=chunks),
  )
  refused(h5.read_images, path, "0 bytes for an array")
  refused(volume_files.read_volume, path, "0 bytes for an array")


def test_h5_with_parts_in_other_files(tmp_path):
  own = h5_with(tmp_path / "own.h5", lambda file: file.update(target=IMAGES))
  np.testing.assert_array_equal(h5.read_images(own)[0], IMAGES)

  def link(file):
    file["target"] = h5py.ExternalLink("own.h5", "target")

  def hidden_link(file):
    file["target"] = h5py.SoftLink("/group/there")
    file["group/there"] = h5py.ExternalLink("own.h5", "target")

  def storage(file):
    place = [(str(own), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("target", IMAGES.shape, "f8", external=place)

  def virtual(file):
    layout = h5py.VirtualLayout(IMAGES.shape, "f8")
    layout[:] = h5py.VirtualSource(own, "target", IMAGES.shape)
    file.create_virtual_dataset("target", layout)

  for k, make in enumerate((link, hidden_link, storage, virtual)):
    path = h5_with(tmp_path / f"{k}.h5", make)
    refused(h5.read_images, path, "(into|in) the file '.*own.h5'")


def test_h5_with_links_inside(tmp_path):
  def make(file):
    file.create_dataset("images", data=IMAGES, compression="gzip")
    file["target"], file["empty"] = h5py.SoftLink("/images"), h5py.Empty("f4")

  path = h5_with(tmp_path / "a.h5", make)
  np.testing.assert_array_equal(h5.read_images(path)[0], IMAGES)


@pytest.mark.parametrize(
  ("change", "found"),
  [
    slow(lambda at: (struct.pack("<QQ", 1, 60), bytes(16)), "reads without end"),
    (lambda at: (struct.pack("<IQ", 60, at), struct.pack("<IQ", 2**31, at)), "memory"),
    (
      lambda at: (struct.pack("<II", 148, 0), struct.pack("<II", 3, 0)),
      "ends a process .* status -11",
    ),
    (lambda at: (struct.pack("<II", 148, 0), bytes(8)), "a chunk of 0 bytes"),
  ],
)
def test_h5_that_its_library_does_not_survive(tmp_path, change, found):
  def make(file):
    file["text"] = "abc" * 20
    file.create_dataset("target", data=np.ones((4, 6, 6)), chunks=(1, 3, 6), **packed)

  packed = {"fletcher32": True}  # four bytes more per chunk
  path = h5_with(tmp_path / "a.h5", make)
  with h5.opened(path) as file:
    np.testing.assert_array_equal(file["target"], np.ones((4, 6, 6)))
  content = path.read_bytes()
  old, new = change(content.index(b"GCOL"))
  assert old in content
  path.write_bytes(content.replace(old, new, 1))
  refused(h5.read_images, path, found)
  path.write_bytes(content)  # the next file is checked by a new process
  np.testing.assert_array_equal(h5.read_images(path)[0], np.ones((4, 6, 6)))


@pytest.mark.parametrize("address", [0, 1 << 40])
def test_h5_with_a_chunk_that_is_not_in_the_file(tmp_path, address):
  def make(file):
    file.create_dataset("target", data=IMAGES, chunks=(2, 8, 8))
    file.create_dataset("packed", data=IMAGES, chunks=(2, 8, 8), compression="gzip")
    file.create_dataset("never written", (4, 8, 8), "f4", chunks=(2, 8, 8))
    file.create_dataset("text", (2,), h5py.string_dtype(), chunks=(1,))
    file["text"][:] = ["abc", "def"]
    infos = {name: file[name].id.get_chunk_info(1) for name in names}
    return {name: (info.byte_offset, info.size) for name, info in infos.items()}

  path, names = tmp_path / "a.h5", ("target", "packed", "text")
  with h5py.File(path, "w") as file:
    chunks = make(file)
  content = path.read_bytes()
  for name, (start, size) in chunks.items():
    path.write_bytes(content)
    np.testing.assert_array_equal(h5.read_images(path)[0], IMAGES)
    at = content.index(struct.pack("<Q", start))
    path.write_bytes(content[:at] + struct.pack("<Q", address) + content[at + 8 :])
    refused(h5.read_images, path, f"{name!r} with a chunk of {size} bytes at the byte")


def test_h5_is_checked_once_while_it_stays_the_same(tmp_path):
  path = h5_with(tmp_path / "a.h5", lambda file: file.update(target=IMAGES))
  for _ in range(2):
    with h5.opened(path):
      pass
  with h5py.File(path, "a") as file:
    file["elsewhere"] = h5py.ExternalLink("own.h5", "target")
  refused(h5.read_images, path, "into the file 'own.h5'")


def test_h5_after_the_checking_process_was_ended(tmp_path):
  path = h5_with(tmp_path / "a.h5", lambda file: file.update(target=IMAGES))
  with h5.opened(path):
    pass
  os.utime(path, (1, 1))
  h5_check._processes[0]._process.kill()
  h5_check._processes[0]._process.wait()
  np.testing.assert_array_equal(h5.read_images(path)[0], IMAGES)


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


def run(command, **changes):
  root = str(pathlib.Path(__file__).parents[2])
  environment = os.environ | {"PYTHONPATH": root} | changes
  return subprocess.run(
    ["bash", "-c", f"{sys.executable} -m kdmri_jax {command}"],
    capture_output=True,
    text=True,
    env=environment,
    check=False,
  )


@pytest.mark.parametrize("command", ["--help", "evaluate --help"])
def test_output_that_cannot_be_written(command):
  full = run(f"{command} > /dev/full")
  assert full.returncode == 1
  assert full.stderr.startswith("\nerror: standard output: found a failed write")
  closed = run(f"{command} | true; exit ${{PIPESTATUS[0]}}")
  assert closed.returncode in (0, 141) and not closed.stderr


def test_path_that_the_encoding_of_the_terminal_lacks(tmp_path):
  folder = tmp_path / "hürde"
  folder.mkdir()
  with h5py.File(folder / "a.h5", "w") as file:
    file["target"], file["reconstruction"] = IMAGES, IMAGES[:, ::-1]
  changes = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
  done = run(
    f"evaluate --target={folder} --prediction=ö={folder} --out={folder}/ä", **changes
  )
  assert done.returncode == 0, done.stderr
  assert "protocol kdmri" in done.stdout


def folder_of(root, files):
  for name, text in files.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
  return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"
MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n"}
GROUP = {
  f"{V2}/a/memory.max": "3000000\n",
  f"{V2}/a/memory.current": "1000000\n",
  f"{V2}/a/memory.stat": "anon 5\ninactive_file 500000\n",
  f"{V2}/a/b/memory.max": "max\n",
  f"{V2}/a/b/memory.current": "900000\n",
}
OLDER = {
  f"{V1}/memory.limit_in_bytes": "3000000\n",
  f"{V1}/memory.usage_in_bytes": "1000000\n",
  f"{V1}/memory.stat": "total_inactive_file 250000\n",
}


@pytest.mark.parametrize(
  ("files", "expected"),
  [
    (MACHINE, 5_120_000),
    (MACHINE | GROUP, 5_120_000),  # groups of other processes
    (MACHINE | GROUP | {"proc/self/cgroup": "0::/a/b\n"}, 2_500_000),
    (
      MACHINE | OLDER | {"proc/self/cgroup": "7:cpu:/\n4:memory:/docker/x\n"},
      2_250_000,
    ),
  ],
)
def test_memory_that_a_container_leaves(tmp_path, files, expected):
  assert available_memory(folder_of(tmp_path, files)) == expected


def test_memory_of_this_machine():
  assert 2**20 < available_memory() < 2**50


@pytest.mark.parametrize(
  "name", ["a.h5", "a.nii.gz", "a.npz", "a.npy", "a.mat", "a.pt"]
)
@pytest.mark.parametrize(
  ("content", "text"),
  [
    (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page. .*signing in"),
    (b"\xef\xbb\xbf\n<HTML>", "a web page"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(200), "a 7z archive. .*unpack it"),
  ],
)
def test_content_of_another_format_is_named(tmp_path, name, content, text):
  path = tmp_path / name
  path.write_bytes(content)
  readers = {".pt": torch_file.read, ".mat": lambda path: read_mat(path, "a")}
  readers |= {".npy": read_npy, ".npz": read_npz, ".gz": read_nifti}
  text = text.replace(". ", "; expected .* ", 1)
  with pytest.raises(UserError, match=rf"{name}: found .* begins as {text}"):
    readers.get(path.suffix, h5.read_images)(path)
