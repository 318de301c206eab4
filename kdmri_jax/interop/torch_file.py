"""Reads and writes files of `torch.save`, without PyTorch or running their code.

A checkpoint holds a pickle, and a pickle can name any function to be called. This
reader accepts a fixed list of names: functions that rebuild tensors, and a few harmless
classes, whose arguments it records. Any other name is refused.

Both formats are read: the zip archive of PyTorch 1.6 and later, and the format of
earlier versions, a sequence of pickles followed by raw storages. The archive is also
written: `data.pkl`, a pickle in which tensors refer to storages by number, and the
storages, raw, in `data/`. Pickling a tensor names functions of PyTorch, which Python's
pickler would have to import; so this module writes the few necessary opcodes itself.

Source: the pickle opcodes of Python's `pickletools`; PyTorch's notes on serialization.
"""

import functools
import io
import itertools
import math
import os
import pathlib
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import reading, refuse_huge
from kdmri_jax.saving import replacing

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
  "FloatStorage": "f4",
  "DoubleStorage": "f8",
  "HalfStorage": "f2",
  "LongStorage": "i8",
  "IntStorage": "i4",
  "ShortStorage": "i2",
  "CharStorage": "i1",
  "ByteStorage": "u1",
  "BoolStorage": "?",
  "ComplexFloatStorage": "c8",
  "ComplexDoubleStorage": "c16",
}


def read(path: str | os.PathLike) -> dict:
  """Reads a PyTorch checkpoint.

  Args:
    path: a .pt or .pth file, zip archive or the older format.

  Returns:
    The saved dict; tensors are NumPy arrays, and other objects, such as an
    `argparse.Namespace`, are `Record`s.

  Raises:
    UserError: the file is missing, truncated, no checkpoint, does not hold a dict,
      or names a class or function that is not on the list.
  """
  path = pathlib.Path(path)
  with reading(path):
    content = path.read_bytes()
    read = _read_zip if content.startswith(b"PK\x03\x04") else _read_legacy
    checkpoint = read(content, path)
  if not isinstance(checkpoint, dict):
    found = f"a {type(checkpoint).__name__}"
    raise UserError(path, found, "a dict", "Save a dict or a state dict.")
  return checkpoint


def write(path: str | os.PathLike, checkpoint: Mapping[str, Any]) -> None:
  """Writes a checkpoint that `torch.load(path, weights_only=True)` reads.

  Args:
    path: the file; the same checkpoint gives the same bytes.
    checkpoint: dicts, texts, numbers, and float32 arrays, which become tensors.

  Raises:
    UserError: the file cannot be written.
    TypeError: it holds something else.
  """
  arrays: list[np.ndarray] = []
  content = [pickle.PROTO + b"\x02", *_opcodes(checkpoint, arrays), pickle.STOP]
  members = {"data.pkl": b"".join(content), "byteorder": b"little"}
  members |= {f"data/{k}": a.astype("<f4").tobytes() for k, a in enumerate(arrays)}
  members["version"] = b"3\n"
  with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
    for name, data in members.items():
      archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)


class Record:
  """Stands for an object that the checkpoint holds; nothing of its class runs.

  Attributes:
    arguments: the arguments of its constructor.
    state: the state for its attributes, or None.
  """

  def __new__(cls, *arguments):
    record = super().__new__(cls)
    record.arguments, record.state = arguments, None
    return record

  def __init__(self, *arguments: Any):
    """Accepts the arguments that `__new__` stores."""

  def __setstate__(self, state):
    self.state = state


class _Dict(dict):
  """An OrderedDict without the attributes that a pickle could set on one."""

  def __setstate__(self, state):
    """Drops PyTorch's `_metadata`."""


class _StorageType(Record):
  """A storage class; its only argument is the name of the NumPy type."""


class _Tensor(Record):
  """Rebuilds to an array that shares the storage's memory."""

  def __new__(cls, storage, offset, shape, strides, *_):
    if not all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides)):
      raise ValueError("a tensor with a negative offset, size or stride")
    if not isinstance(storage, np.ndarray) or math.prod(shape) > storage.size:
      raise ValueError("a tensor without storage, or larger than it")
    offset, *strides = (n * storage.itemsize for n in (offset, *strides))
    # NumPy refuses a tensor beyond the end of its storage.
    return np.ndarray(shape, storage.dtype, storage, offset, strides)


class _Parameter(Record):
  """Rebuilds to the tensor that the parameter holds."""

  def __new__(cls, tensor, *_):
    return tensor


_RECORDED = (
  ("argparse", "Namespace"),
  *itertools.product(
    ("pathlib", "pathlib._local"),  # its name until Python 3.12, and in 3.13
    ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"),
  ),
  ("torch", "device"),
  # A NumPy number, such as the published code's mean validation loss.
  ("numpy", "dtype"),
  ("numpy.core.multiarray", "scalar"),
  ("numpy._core.multiarray", "scalar"),
  ("_codecs", "encode"),
)
_NAMES = {
  ("collections", "OrderedDict"): _Dict,
  ("torch._utils", "_rebuild_tensor"): _Tensor,
  ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
  ("torch._utils", "_rebuild_parameter"): _Parameter,
  **{name: type(name[1], (Record,), {}) for name in _RECORDED},
}


class _Unpickler(pickle._Unpickler):
  """Knows `_NAMES` and storages, which `storage(key, dtype, count)` delivers.

  It is Python's unpickler in Python: the compiled one allocates a memo as long as the
  largest index in it. Tuples of tuples are no keys here, because a few bytes of them
  take years to hash.
  """

  dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)

  def __init__(self, file: io.BytesIO, path: pathlib.Path, storage: Any = None):
    super().__init__(file)
    self._path, self._storage = path, storage

  def find_class(self, module, name):
    if module in ("torch", "torch.cuda") and name in _DTYPES:
      return _StorageType(_DTYPES[name])
    if (module, name) not in _NAMES:
      expected = "tensors and plain containers"
      remedy = "Save the state dict alone, or refuse the file if you do not trust it."
      raise UserError(self._path, f"the name {module}.{name}", expected, remedy)
    return _NAMES[module, name]

  def persistent_load(self, pid):
    kind, storage_type, key, _, count, *view = pid
    if kind != "storage" or not isinstance(storage_type, _StorageType):
      raise ValueError("a persistent object that is no storage")
    for part in (key, count):
      _refuse_key(part)
    storage = self._storage(key, np.dtype(storage_type.arguments[0]), count)
    if view and view[0] is not None:
      _, offset, size = view[0]
      return storage[offset : offset + size]
    return storage


def _refuse_key(key: Any) -> None:
  parts = key if isinstance(key, tuple) else (key,)
  if not all(isinstance(k, str | bytes | int | float | None) for k in parts):
    raise ValueError(f"a key of type {type(key).__name__} with others in it")


def _checking(opcode: bytes, keys: slice):
  """The method for an opcode that hashes these of the values on the stack."""
  load = pickle._Unpickler.dispatch[opcode[0]]

  def checked(unpickler):
    for key in unpickler.stack[keys]:
      _refuse_key(key)
    load(unpickler)

  return checked


for _opcode, _keys in {
  pickle.SETITEM: slice(-2, -1),
  pickle.SETITEMS: slice(None, None, 2),
  pickle.DICT: slice(None, None, 2),
  pickle.ADDITEMS: slice(None),
  pickle.FROZENSET: slice(None),
}.items():
  _Unpickler.dispatch[_opcode[0]] = _checking(_opcode, _keys)


def _read_zip(content: bytes, path: pathlib.Path):
  archive = zipfile.ZipFile(io.BytesIO(content))
  total = sum(info.file_size for info in archive.infolist())
  refuse_huge(path, (total,), 1, compressed=True)
  names = [n for n in archive.namelist() if n.split("/")[-1] == "data.pkl"]
  if len(names) != 1:
    raise ValueError(f"a zip archive with {len(names)} files data.pkl")
  folder = names[0].removesuffix("data.pkl")

  def member(name):
    if archive.getinfo(folder + name).file_size > len(content):
      raise ValueError(f"{name} unpacks to more than the whole file")
    return archive.read(folder + name)

  has_order = folder + "byteorder" in archive.namelist()
  order = ">" if has_order and member("byteorder") == b"big" else "<"

  @functools.cache  # tensors may share a storage
  def storage(key, dtype, count):
    array = np.frombuffer(member(f"data/{key}"), dtype.newbyteorder(order))
    if array.size < count:
      raise ValueError(f"storage {key} of {array.size} elements instead of {count}")
    return array.astype(dtype)

  return _Unpickler(io.BytesIO(member("data.pkl")), path, storage).load()


def _read_legacy(content: bytes, path: pathlib.Path):
  file, storages = io.BytesIO(content), {}
  load = lambda storage=None: _Unpickler(file, path, storage).load()  # noqa: E731
  if load() != _MAGIC or load() != _PROTOCOL:
    raise ValueError("no magic number of PyTorch")
  load()  # sizes of C types on the machine that wrote it

  def storage(key, dtype, count):
    others = sum(array.nbytes for name, array in storages.items() if name != key)
    if not 0 <= count * dtype.itemsize <= len(content) - others:
      raise ValueError(f"storage {key} is larger than the rest of the file")
    return storages.setdefault(key, np.zeros(count, dtype))

  checkpoint = load(storage)
  for key in load():
    _refuse_key(key)
    array = storages[key]
    count = int.from_bytes(file.read(8), "little")
    raw = file.read(array.nbytes)
    if count != array.size or len(raw) != array.nbytes:
      raise ValueError(f"storage {key} is incomplete")
    array[:] = np.frombuffer(raw, array.dtype.newbyteorder("<"))
  return checkpoint


def _opcodes(value, arrays):
  """The opcodes that push a value; its arrays are appended to `arrays`."""
  if isinstance(value, np.ndarray):
    yield from _tensor(value, arrays)
  elif isinstance(value, Mapping):
    yield pickle.EMPTY_DICT + pickle.MARK
    for pair in value.items():
      for part in pair:
        yield from _opcodes(part, arrays)
    yield pickle.SETITEMS
  elif isinstance(value, tuple):
    yield pickle.MARK
    for part in value:
      yield from _opcodes(part, arrays)
    yield pickle.TUPLE
  elif type(value) in (bool, int, float, str):
    # Without the protocol, the stop, and marks for a memo that nothing reads.
    yield pickletools.optimize(pickle.dumps(value, 2))[2:-1]
  else:
    raise TypeError(f"{type(value).__name__} cannot be written")


def _tensor(array, arrays):
  if array.dtype != np.float32:
    raise TypeError(f"arrays of {array.dtype} cannot be written")
  key = str(len(arrays))
  arrays.append(array)
  strides = tuple(s // array.itemsize for s in np.empty(array.shape, "f4").strides)
  yield _named("torch._utils", "_rebuild_tensor_v2") + pickle.MARK
  yield pickle.MARK
  yield from _opcodes("storage", arrays)
  yield _named("torch", "FloatStorage")
  for part in (key, "cpu", array.size):
    yield from _opcodes(part, arrays)
  yield pickle.TUPLE + pickle.BINPERSID
  for part in (0, array.shape, strides, False):
    yield from _opcodes(part, arrays)
  yield _named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
  yield pickle.TUPLE + pickle.REDUCE


def _named(module: str, name: str) -> bytes:
  return pickle.GLOBAL + f"{module}\n{name}\n".encode()
