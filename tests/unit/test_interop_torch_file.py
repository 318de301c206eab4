"""PyTorch's files without PyTorch: both formats, damaged and malicious ones."""

import os
import pickle
import re
import sys
import zipfile

import numpy as np
import pytest
from helpers import torch_files
from helpers.torch_files import (
  Call,
  Storage,
  Tensor,
  both_formats,
  whole,
  write_big_endian_zip,
  write_legacy,
  write_zip,
)

from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.interop import torch_file


@pytest.fixture
def torch_names(monkeypatch):
  torch_files.name_torch(monkeypatch)


def write_pickle(path, content):
  """A zip checkpoint around the bytes of a pickle."""
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", content)


def refusal(path, read=torch_file.read):
  with pytest.raises(UserError) as caught:
    read(path)
  return str(caught.value)


@pytest.mark.parametrize("write", [write_zip, write_big_endian_zip, write_legacy])
def test_shared_storage_strides_and_offset(tmp_path, torch_names, write):
  base = np.arange(24, dtype=np.float32)
  shared = Storage(base)
  rows = Tensor(shared, (4, 6), (6, 1))
  checkpoint = {
    "rows": rows,
    "transposed": Tensor(shared, (3, 2), (1, 3), 6),
    "scalar": Tensor(shared, (), (), 5),
    "empty": Tensor(shared, (0, 3), (3, 1), 24),
    "long": whole(np.array([[3, -(2**40)]])),
    "parameter": Call(sys.modules["torch._utils"]._rebuild_parameter, rows, True, {}),
    "list": [1, "two", (3.0, None)],
  }
  write(tmp_path / "a.pt", checkpoint)
  read = torch_file.read(tmp_path / "a.pt")
  np.testing.assert_array_equal(read["rows"], base.reshape(4, 6))
  np.testing.assert_array_equal(read["transposed"], [[6, 9], [7, 10], [8, 11]])
  np.testing.assert_array_equal(read["parameter"], base.reshape(4, 6))
  assert read["scalar"] == 5
  assert read["empty"].shape == (0, 3)
  np.testing.assert_array_equal(read["long"], [[3, -(2**40)]])
  assert read["rows"].dtype == np.float32
  assert read["list"] == [1, "two", (3.0, None)]


@both_formats
@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, np.fromfile])
def test_a_malicious_pickle_is_refused_and_does_nothing(
  tmp_path, torch_names, write, function
):
  victim = tmp_path / "victim"
  command = f"touch {victim}" if function is os.system else f"open('{victim}', 'w')"
  write(tmp_path / "evil.pt", {"model": Call(function, command)})
  message = refusal(tmp_path / "evil.pt")
  # Protocol 2 writes the names of Python 2.
  module = function.__module__.replace("builtins", "__builtin__")
  name = f"{module}.{function.__name__}"
  assert message.startswith(f"{tmp_path / 'evil.pt'}: found the name {name};")
  assert not victim.exists()


@pytest.mark.parametrize("name", list(torch_file._NAMES))
def test_a_pickle_cannot_change_the_reader(tmp_path, name):
  """BUILD with a state, and with slot state, on every name that the reader knows."""
  before = {c: dict(vars(c)) for c in set(torch_file._NAMES.values())}
  state = b"(X\x07\x00\x00\x00__new__I1\nd"
  for build in (state, b"(N" + state + b"t"):
    content = "c{}\n{}\n".format(*name).encode() + build + b"b."
    write_pickle(tmp_path / "evil.pt", content)
    refusal(tmp_path / "evil.pt")
  assert {c: dict(vars(c)) for c in before} == before


def test_state_sets_no_attribute(tmp_path):
  state = b"(X\x05\x00\x00\x00itemsI1\nd"
  write_pickle(tmp_path / "a.pt", b"ccollections\nOrderedDict\n(tR" + state + b"b.")
  read = torch_file.read(tmp_path / "a.pt")
  assert read == {}
  assert list(read.items()) == []
  record = b"X\x01\x00\x00\x00acargparse\nNamespace\n)\x81"
  write_pickle(tmp_path / "a.pt", b"}" + record + state + b"bs.")
  record = torch_file.read(tmp_path / "a.pt")["a"]
  assert record.state == {"items": 1}
  assert not hasattr(record, "items")


OUTSIDE = [
  *[((5,), (1,), 0), ((4,), (1,), 1), ((2, 2), (3, 1), 0), ((2,), (-1,), 1)],
  *[((-2,), (1,), 0), ((2,), (1,), -4), ((10**9,), (0,), 0), ((2, 2), (1,), 0)],
]


@pytest.mark.parametrize("view", OUTSIDE)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, torch_names, view):
  storage = Storage(np.arange(4, dtype=np.float32))
  write_zip(tmp_path / "a.pt", {"x": Tensor(storage, *view)})
  assert re.search("a tensor|strides", refusal(tmp_path / "a.pt"))


@both_formats
def test_truncated_files_are_refused(tmp_path, torch_names, write):
  path = tmp_path / "a.pt"
  write(path, {"x": whole(np.arange(300, dtype=np.float32))})
  content = path.read_bytes()
  for length in (*range(0, len(content), 97), len(content) - 1):
    path.write_bytes(content[:length])
    assert "copy or download it again" in refusal(path, interop.load_kdmri_checkpoint)


def test_files_that_are_no_checkpoint_are_refused(tmp_path, torch_names):
  path = tmp_path / "a.pt"
  assert "No such file" in refusal(path)
  assert "directory" in refusal(tmp_path)
  np.savez(tmp_path / "a.npz", x=np.ones(3))
  assert "data.pkl" in refusal(tmp_path / "a.npz")
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
    bomb.writestr("a/data.pkl", b"\x00" * 10**6)
  assert "more than the whole file" in refusal(path)
  for content in (b"hello", pickle.dumps({"x": 1}), pickle.dumps(7)):
    path.write_bytes(content)
    assert "cannot be read" in refusal(path)
  for write in (write_zip, write_legacy):
    write(path, [1, 2])
    assert "found a list" in refusal(path)
  write_zip(path, {"model": whole(np.ones(3))})
  assert "ndarray" in refusal(path, interop.load_kdmri_checkpoint)
