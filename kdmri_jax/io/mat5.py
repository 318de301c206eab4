"""MATLAB files of version 5, read with a check of every length and every index.

SciPy's reader is compiled and trusts the file: a damaged one can end the process.

Source: MathWorks, MAT-File Format, chapter 1, "Level 5 MAT-File Format".
"""

import math
import pathlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from kdmri_jax.io.reading import refuse_huge, refuse_memory

_MATRIX, _COMPRESSED = 14, 15
_STORED = dict(enumerate(("i1", "u1", "i2", "u2", "i4", "u4", "f4"), 1))
_STORED |= {9: "f8", 12: "i8", 13: "u8"}
_SPARSE, _NUMERIC, _OPAQUE = 5, range(6, 16), 17
_COMPLEX = 0x800
_HEAD = 1 << 16  # bytes of a variable that hold at least its name and shape


class _Header(NamedTuple):
  name: str
  shape: tuple[int, ...]
  kind: int
  is_complex: bool
  end: int


def is_version_5(path: pathlib.Path) -> bool:
  """Whether a file begins as one of this version."""
  with path.open("rb") as file:
    return file.read(128)[126:] in (b"IM", b"MI")


def read(
  path: pathlib.Path, names: Sequence[str] = ()
) -> tuple[dict[str, tuple[int, ...]], dict[str, np.ndarray]]:
  """Reads a file.

  Args:
    path: the file.
    names: of the variables whose values are read.

  Returns:
    Name -> shape of all variables; and name -> array of those named that are numbers,
    in the type in which the file stores them, a sparse matrix with its zeros.

  Raises:
    UserError: an array is far larger than the file or larger than the memory.
    ValueError, struct.error, zlib.error: the file is damaged.
  """
  shapes: dict[str, tuple[int, ...]] = {}
  arrays: dict[str, np.ndarray] = {}
  size = path.stat().st_size
  with path.open("rb") as file:
    order = "<" if file.read(128)[126:] == b"IM" else ">"
    while tag := file.read(8):
      kind, count = struct.unpack(f"{order}II", tag)
      end = file.tell() + count
      if end > size:
        raise ValueError(f"a variable of {count} bytes, more than the rest of the file")
      if kind == _COMPRESSED:
        parts = _unpacked(path, file.read(count), order)
      elif kind == _MATRIX:
        parts = _plain(path, file, count)
      else:
        raise ValueError(f"an element of type {kind} in the place of a variable")
      head = next(parts)
      header = _header(head, order)
      if header.name and header.name not in shapes:
        shapes[header.name] = header.shape
        if header.name in names and (header.kind in (_SPARSE, *_NUMERIC)):
          body = memoryview(b"".join([head, *parts]))
          arrays[header.name] = _array(path, body, header, order)
      file.seek(end)
  return shapes, arrays


def _plain(path, file, count: int) -> Iterator[bytes]:
  """A variable: its head, then the rest."""
  yield file.read(min(count, _HEAD))
  refuse_memory(path, (count,), 1)
  yield file.read(max(0, count - _HEAD))


def _unpacked(path, packed: bytes, order: str) -> Iterator[bytes]:
  """A compressed variable without its tag: its head, then the rest."""
  unpacker = zlib.decompressobj()
  kind, count = struct.unpack(f"{order}II", unpacker.decompress(packed, 8))
  if kind != _MATRIX:
    raise ValueError(f"a compressed element of type {kind}")
  head = min(count, _HEAD)
  yield (found := unpacker.decompress(unpacker.unconsumed_tail, head) if head else b"")
  refuse_huge(path, (count,), 1, stored=len(packed), compressed=True)
  if left := count - len(found):
    yield (more := unpacker.decompress(unpacker.unconsumed_tail, left))
    left -= len(more)
  if left or unpacker.decompress(unpacker.unconsumed_tail, 1) or not unpacker.eof:
    raise ValueError(f"a compressed variable of another length than {count} bytes")


def _element(body, at: int, order: str) -> tuple[int, memoryview, int]:
  """Type and bytes of the element at a place, and the place of the next one."""
  (word,) = struct.unpack_from(f"{order}I", body, at)
  kind, count, start, after = word & 0xFFFF, word >> 16, at + 4, at + 8
  if not count:
    kind, count = struct.unpack_from(f"{order}II", body, at)
    start = at + 8
    after = start + count + -count % 8
  elif count > 4:
    raise ValueError(f"a short element of {count} bytes")
  if start + count > len(body):
    raise ValueError(f"an element of {count} bytes, more than its variable holds")
  return kind, body[start : start + count], after


def _numbers(body, at: int, order: str) -> tuple[np.ndarray, int]:
  kind, data, after = _element(body, at, order)
  if kind not in _STORED:
    raise ValueError(f"numbers of type {kind}")
  stored = np.frombuffer(data, order + _STORED[kind])
  return stored.astype(stored.dtype.newbyteorder("=")), after


def _header(head: bytes, order: str) -> _Header:
  body = memoryview(head)
  flags, at = _numbers(body, 0, order)
  if flags.size < 1:
    raise ValueError("a variable without flags")
  kind, is_complex = int(flags[0]) & 0xFF, bool(int(flags[0]) & _COMPLEX)
  if kind == _OPAQUE:  # without a shape
    return _Header("", (), kind, is_complex, at)
  sizes, at = _numbers(body, at, order)
  shape = tuple(map(int, sizes))
  if not 1 < len(shape) <= 32 or min(shape) < 0:
    raise ValueError(f"a variable with the sizes {shape[:33]}")
  _, name, at = _element(body, at, order)
  return _Header(bytes(name).decode("latin-1"), shape, kind, is_complex, at)


def _array(path, body, header: _Header, order: str) -> np.ndarray:
  if header.kind == _SPARSE:
    return _dense(path, body, header, order)
  values, _ = _values(body, header.end, header.is_complex, order)
  if values.size != math.prod(header.shape):
    raise ValueError(f"{values.size} values for the shape {header.shape}")
  return values.reshape(header.shape, order="F")


def _values(body, at: int, is_complex: bool, order: str) -> tuple[np.ndarray, int]:
  """One number after the other, real parts before imaginary parts."""
  values, at = _numbers(body, at, order)
  if not is_complex:
    return values, at
  imaginary, at = _numbers(body, at, order)
  values = values.astype(np.complex64 if values.itemsize == 4 else np.complex128)
  values.imag = imaginary
  return values, at


def _dense(path, body, header: _Header, order: str) -> np.ndarray:
  """A sparse matrix, stored by columns, as an array."""
  rows, at = _numbers(body, header.end, order)
  starts, at = _numbers(body, at, order)
  values, _ = _values(body, at, header.is_complex, order)
  height, width = header.shape
  counts = np.diff(starts)
  if starts.size != width + 1 or starts[0] or (counts < 0).any():
    raise ValueError("a sparse matrix with other columns than it has")
  stored = int(starts[-1])
  rows = rows[:stored]
  if not stored <= min(rows.size, values.size) or ((rows < 0) | (rows >= height)).any():
    raise ValueError("a sparse matrix with entries outside")
  refuse_huge(path, header.shape, values.itemsize, compressed=True)
  result = np.zeros(header.shape, values.dtype, order="F")
  columns = np.repeat(np.arange(width), counts)
  np.add.at(result, (rows, columns), values[:stored])
  return result
