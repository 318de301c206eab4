"""Writes checkpoints for `torch.load`, without PyTorch.

A checkpoint is a zip archive: `data.pkl`, a pickle in which tensors refer to storages
by number, and the storages, raw, in `data/`. Pickling a tensor names functions of
PyTorch, which Python's pickler would have to import; so this module writes the few
necessary opcodes itself.

Source: the pickle opcodes of Python's `pickletools`; PyTorch's notes on serialization.
"""

import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdmri_jax.saving import replacing

_REBUILD = "torch._utils", "_rebuild_tensor_v2"
_STORAGE = "torch", "FloatStorage"
_FOLDER = "archive"


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
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:

    def add(name: str, data: bytes):
      archive.writestr(zipfile.ZipInfo(f"{_FOLDER}/{name}"), data)

    add("data.pkl", b"".join(content))
    add("byteorder", b"little")
    for k, array in enumerate(arrays):
      add(f"data/{k}", array.astype("<f4").tobytes())
    add("version", b"3\n")
  with replacing(path) as temporary:
    temporary.write_bytes(file.getvalue())


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
  yield _named(*_REBUILD) + pickle.MARK
  yield pickle.MARK
  yield from _opcodes("storage", arrays)
  yield _named(*_STORAGE)
  for part in (key, "cpu", array.size):
    yield from _opcodes(part, arrays)
  yield pickle.TUPLE + pickle.BINPERSID
  for part in (0, array.shape, strides, False):
    yield from _opcodes(part, arrays)
  yield _named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
  yield pickle.TUPLE + pickle.REDUCE


def _named(module: str, name: str) -> bytes:
  return pickle.GLOBAL + f"{module}\n{name}\n".encode()
