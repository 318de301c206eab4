"""Damaged and hostile HDF5 files: each is refused, in little time and memory."""

import os
import struct

import h5py
import numpy as np
import pytest
from helpers.marks import slow
from helpers.refusing import HUGE, IMAGES, refused

from kdmri_jax.io import h5, h5_check, volume_files


def h5_with(path, make):
  with h5py.File(path, "w") as file:
    make(file)
  return path


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
