"""Checkpoints of PyTorch: real ones, both formats, damaged and malicious ones."""

import argparse
import collections
import io
import os
import pathlib
import pickle
import re
import struct
import sys
import types
import zipfile

import chex
import jax
import numpy as np
import pytest

from kdmri_jax import interop
from kdmri_jax.errors import UserError
from kdmri_jax.interop import torch_file
from kdmri_jax.types import Measurement

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
NAMES = ["recon_48x40_rows", "recon_36x50_cols"]
STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage"}


def state_dict(numbers, network):
  prefix = f"{network}/"
  return {k.removeprefix(prefix): v for k, v in numbers.items() if k.startswith(prefix)}


def reconstruct(model, variables, numbers):
  measurement = Measurement(numbers["kspace"], numbers["mask"])
  outputs = jax.jit(model.apply)(
    variables, numbers["zero_filled"][..., None], measurement
  )
  return outputs.image[..., 0]


class Call:
  """Pickles to a call of a function."""

  def __init__(self, function, *arguments):
    self.function, self.arguments = function, arguments

  def __reduce__(self):
    return self.function, self.arguments


class Storage:
  """A storage of PyTorch, as far as a file knows it."""

  def __init__(self, array):
    self.array = array


class Tensor:
  """A view of a storage, pickled as PyTorch does."""

  def __init__(self, storage, shape, strides, offset=0):
    self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

  def __reduce__(self):
    return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def whole(array):
  strides = tuple(s // array.itemsize for s in array.strides)
  return Tensor(Storage(array.ravel()), array.shape, strides)


@pytest.fixture
def torch_names(monkeypatch):
  """The names that a pickle of PyTorch refers to, so that one can be written."""
  torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

  names = [(torch, name) for name in STORAGES.values()]
  names += [(utils, "_rebuild_tensor_v2"), (utils, "_rebuild_parameter")]
  for module, name in names:
    setattr(module, name, type(name, (), {"__module__": module.__name__}))
  monkeypatch.setitem(sys.modules, "torch", torch)
  monkeypatch.setitem(sys.modules, "torch._utils", utils)


class Pickler(pickle.Pickler):
  def __init__(self, file, legacy):
    super().__init__(file, protocol=2)
    self.legacy, self.storages = legacy, {}

  def persistent_id(self, obj):
    if not isinstance(obj, Storage):
      return None
    key = next((k for k, s in self.storages.items() if s is obj), None)
    key = key or str(len(self.storages) + 100)
    self.storages[key] = obj
    storage_type = getattr(sys.modules["torch"], STORAGES[obj.array.dtype.str[1:]])
    view = (None,) if self.legacy else ()
    return ("storage", storage_type, key, "cuda:0", obj.array.size, *view)


def write_zip(path, obj, byteorder="little"):
  file = io.BytesIO()
  pickler = Pickler(file, legacy=False)
  pickler.dump(obj)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("best_model/data.pkl", file.getvalue())
    archive.writestr("best_model/byteorder", byteorder)
    for key, storage in pickler.storages.items():
      order = "<" if byteorder == "little" else ">"
      content = storage.array.astype(storage.array.dtype.newbyteorder(order))
      archive.writestr(f"best_model/data/{key}", content.tobytes())
    archive.writestr("best_model/version", "3\n")


def write_big_endian_zip(path, obj):
  write_zip(path, obj, "big")


def write_legacy(path, obj):
  file = io.BytesIO()
  sizes = {"short": 2, "int": 4, "long": 4}
  info = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
  for header in (0x1950A86A20F9469CFC6C, 1001, info):
    pickle.dump(header, file, protocol=2)
  pickler = Pickler(file, legacy=True)
  pickler.dump(obj)
  pickle.dump(sorted(pickler.storages), file, protocol=2)
  for key in sorted(pickler.storages):
    array = pickler.storages[key].array
    file.write(struct.pack("<q", array.size) + array.tobytes())
  path.write_bytes(file.getvalue())


def write_pickle(path, content):
  """A zip checkpoint around the bytes of a pickle."""
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", content)


def refusal(path, read=torch_file.read):
  with pytest.raises(UserError) as caught:
    read(path)
  return str(caught.value)


both_formats = pytest.mark.parametrize("write", [write_zip, write_legacy])


@pytest.mark.parametrize("network", ["teacher", "student"])
@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_and_state_dicts_reconstruct_as_the_original(golden, name, network):
  numbers, path = golden(name), GOLDEN / f"{name}_{network}.pt"
  state = state_dict(numbers, network)
  model, variables = interop.load_kdmri_checkpoint(path)
  image = reconstruct(model, variables, numbers)
  np.testing.assert_allclose(image, numbers[f"out_{network}"], atol=2e-6)
  same_model, same_variables = interop.from_kdmri_state_dict(state)
  assert model == same_model
  chex.assert_trees_all_equal(variables, same_variables)
  convolutions = 5 if network == "teacher" else 3
  assert (model.cascades, model.convolutions) == (5, convolutions)
  assert (model.features, model.channels, model.variant) == (32, 1, "reference")
  chex.assert_trees_all_equal(dict(torch_file.read(path)["model"]), state)


def test_other_sizes_two_channels_and_the_prefix_of_dataparallel():
  rng = np.random.default_rng(0)
  shapes = {1: (7, 2, 3, 3), 2: (7, 7, 3, 3), 3: (7, 7, 3, 3), 4: (2, 7, 3, 3)}
  state = {}
  for c in (1, 2):
    for k, shape in shapes.items():
      state[f"module.cascade{c}.conv{k}.weight"] = rng.standard_normal(shape)
      state[f"module.cascade{c}.conv{k}.bias"] = rng.standard_normal(shape[0])
  model, variables = interop.from_kdmri_state_dict(state)
  assert (model.cascades, model.convolutions) == (2, 4)
  assert (model.features, model.channels) == (7, 2)
  image = np.zeros((1, 8, 8, 2), np.float32)
  measurement = Measurement(np.zeros((1, 8, 8), np.complex64), np.ones((8, 8)))
  expected = jax.eval_shape(model.init, jax.random.key(0), image, measurement)
  expected = {"params": expected["params"]}
  chex.assert_trees_all_equal_shapes_and_dtypes(variables, expected)
  kernel = variables["params"]["cascade_2"]["conv_4"]["kernel"]
  weight = state["module.cascade2.conv4.weight"]
  assert kernel[0, 2, 5, 1] == np.float32(weight[1, 5, 0, 2])


@pytest.mark.parametrize(
  ("change", "found"),
  [
    ({"cascade3.conv2.bias": None}, "missing cascade3.conv2.bias"),
    ({"cascade1.conv1.weight": None}, "no cascade1.conv1.weight"),
    ({"head.weight": np.ones(3)}, "unknown head.weight"),
    ({"cascade99999999.conv1.bias": np.ones(1)}, "unknown cascade99999999"),
    ({"cascade2.conv3.bias": np.ones(2)}, "cascade2.conv3.bias of shape (2,)"),
    ({"cascade1.conv1.weight": np.ones((32, 3, 3, 3))}, "neither 1 nor 2 channels"),
    ({"cascade2.conv3.bias": np.array([np.nan])}, "NaN"),
    ({"cascade2.conv3.bias": np.array(["x"])}, "type <U1"),
  ],
)
def test_state_dicts_that_do_not_fit_are_refused(golden, change, found):
  state = state_dict(golden(NAMES[0]), "student") | change
  state = {k: v for k, v in state.items() if v is not None}
  with pytest.raises(UserError) as caught:
    interop.from_kdmri_state_dict(state)
  assert found in str(caught.value)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.net.", ""])
@pytest.mark.parametrize("key", ["state_dict", "model_state", "model", ""])
def test_wrapped_state_dicts_are_unwrapped(golden, tmp_path, torch_names, prefix, key):
  state = state_dict(golden(NAMES[0]), "student")
  expected = interop.from_kdmri_state_dict(state)
  wrapped = {prefix + name: array for name, array in state.items()}
  if key == "model":
    wrapped = {"state_dict": wrapped, "name": "student"}
  if key:
    moments = {"0": {"exp_avg": np.ones(2, np.float32)}}
    wrapped = {key: wrapped, "epoch": 3, "best": np.ones(1, np.float32)}
    wrapped["optimizer"] = {"state": moments, "settings": {"lr": 1e-3}}
  chex.assert_trees_all_equal(interop.from_kdmri_state_dict(wrapped), expected)
  torch_file.write(tmp_path / "a.pt", wrapped)
  chex.assert_trees_all_equal(
    interop.load_kdmri_checkpoint(tmp_path / "a.pt"), expected
  )


def test_of_several_state_dicts_none_is_chosen(golden):
  state = state_dict(golden(NAMES[0]), "student")
  with pytest.raises(UserError, match=r"found several state dicts, ema, net"):
    interop.from_kdmri_state_dict({"net": state, "ema": state})


def test_what_is_no_state_dict_is_refused():
  for state in ({}, [1, 2], {"epoch": 3}):
    with pytest.raises(UserError, match="state dict: found"):
      interop.from_kdmri_state_dict(state)


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
def test_the_original_s_whole_dict(golden, tmp_path, torch_names, write):
  """With arguments, paths, a NumPy number and a state dict that has metadata."""
  numbers = golden(NAMES[0])
  state = collections.OrderedDict()
  for key, array in state_dict(numbers, "student").items():
    state[key] = whole(array)
  state._metadata = {"cascade1": {"version": 1}}
  folder = pathlib.PurePosixPath("runs/kd")
  checkpoint = {
    "epoch": 149,
    "args": argparse.Namespace(batch_size=4, exp_dir=folder),
    "model": state,
    "optimizer": {"state": {0: {"step": 3, "exp_avg": whole(np.ones(2))}}},
    "best_dev_loss": np.float64(0.25),
    "exp_dir": folder,
  }
  write(tmp_path / "best_model.pt", checkpoint)
  read = torch_file.read(tmp_path / "best_model.pt")
  assert read["epoch"] == 149
  assert type(read["args"]) is not argparse.Namespace
  assert read["args"].state["batch_size"] == 4
  assert pathlib.PurePosixPath(*read["exp_dir"].arguments) == folder
  model, variables = interop.load_kdmri_checkpoint(tmp_path / "best_model.pt")
  image = reconstruct(model, variables, numbers)
  np.testing.assert_allclose(image, numbers["out_student"], atol=2e-6)


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
