"""Files with one flipped bit."""

import contextlib
import pathlib
from collections.abc import Iterator

import numpy as np


def flips(
  folder: pathlib.Path, each: int, seed: int
) -> Iterator[tuple[pathlib.Path, int]]:
  """Files below a folder, each several times with the number of one of its bits."""
  rng = np.random.default_rng(seed)
  for path in sorted(path for path in folder.rglob("*") if path.is_file()):
    bits = 8 * path.stat().st_size
    for bit in rng.integers(bits, size=each if bits else 0):
      yield path, int(bit)


@contextlib.contextmanager
def flipped(path: pathlib.Path, bit: int) -> Iterator[None]:
  """Flips a bit of a file within the block."""
  whole = path.read_bytes()
  damaged = bytearray(whole)
  damaged[bit // 8] ^= 1 << bit % 8
  path.write_bytes(damaged)
  try:
    yield
  finally:
    path.write_bytes(whole)
