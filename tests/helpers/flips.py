"""Files with one flipped bit."""

import collections
import contextlib
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np


def files(folder: pathlib.Path) -> list[pathlib.Path]:
  """All files below a folder."""
  return sorted(path for path in folder.rglob("*") if path.is_file())


def flips(
  paths: Iterable[pathlib.Path], each: int, seed: int
) -> Iterator[tuple[pathlib.Path, int]]:
  """Files, each several times with the number of one of its bits."""
  rng = np.random.default_rng(seed)
  for path in paths:
    bits = 8 * path.stat().st_size
    for bit in rng.integers(bits, size=each if bits else 0):
      yield path, int(bit)


def one_of_each_kind(
  paths: Iterable[pathlib.Path], stages: Iterable[str], seed: int
) -> list[pathlib.Path]:
  """One file of each kind, drawn from the stages that have it.

  Files are of one kind if their paths are equal but for the stage; those of an array
  store have names without meaning, so its folder is their kind.
  """
  rng, kinds = np.random.default_rng(seed), collections.defaultdict(list)
  for path in sorted(paths):
    place = path.parent if path.parent.name == "d" else path
    parts = ["*" if part in stages else part for part in place.parts]
    kinds[tuple(parts)].append(path)
  return [files[rng.integers(len(files))] for files in kinds.values()]


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
