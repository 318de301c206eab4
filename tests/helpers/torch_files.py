"""Files of PyTorch, written without it."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile

import pytest

STORAGES = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage"}


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


def name_torch(patch):
  """Adds the names that a pickle of PyTorch refers to, so that one can be written."""
  torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
  names = [(torch, name) for name in STORAGES.values()]
  names += [(utils, "_rebuild_tensor_v2"), (utils, "_rebuild_parameter")]
  for module, name in names:
    setattr(module, name, type(name, (), {"__module__": module.__name__}))
  patch.setitem(sys.modules, "torch", torch)
  patch.setitem(sys.modules, "torch._utils", utils)


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


both_formats = pytest.mark.parametrize("write", [write_zip, write_legacy])
