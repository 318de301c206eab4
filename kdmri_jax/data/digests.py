"""Digests of slices, to find equal images without comparing pixels; and of weights."""

import collections
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

CONSTANT = "="
_SHORT = 12
_MOST_SHOWN = 4


def of_slices(images: np.ndarray) -> tuple[str, ...]:
  """A digest of each slice [H, W]; the digest of a constant slice begins with "="."""
  return tuple(
    (CONSTANT if np.all(image == image.flat[0]) else "")
    + digest([np.ascontiguousarray(image)])
    for image in images
  )


def short(found: Iterable[str]) -> list[str]:
  """The first 48 bits of digests: enough to tell slices apart, in a third the space."""
  return [each[:_SHORT] for each in found]


def known_by(*found: Sequence[str]) -> list[tuple[str, ...]]:
  """The digests by which each slice is known; () of a constant one.

  Args:
    found: the digests of all slices, once or several times, as of other scalings.
  """
  return [
    () if own[0].startswith(CONSTANT) else own for own in zip(*found, strict=True)
  ]


def repeats(volumes: Iterable[tuple[str, Sequence[Sequence[str]]]]) -> str:
  """The slices that are there more than once, in words; "" without any.

  Args:
    volumes: name of each volume, and `known_by` of its slices.
  """
  first: dict[str, str] = {}
  pairs: collections.Counter[tuple[str, str]] = collections.Counter()
  for name, slices in volumes:
    for own in slices:
      if known := [first[digest] for digest in own if digest in first]:
        pairs[name, known[0]] += 1
      for digest in own:
        first.setdefault(digest, name)
  words = [
    f"{count} slice{'s' * (count > 1)} of {name} "
    + ("repeated in it" if name == other else f"also in {other}")
    for (name, other), count in pairs.items()
  ]
  more = len(words) - _MOST_SHOWN
  return ", ".join(words[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def of_volumes(volumes: Iterable[Mapping[str, Sequence[str]]]) -> str:
  """One digest of all the arrays of some volumes, from `Volume.digests` of each."""
  return digest(
    f"{key}:{digest}\n".encode()
    for arrays in volumes
    for key, digests in sorted(arrays.items())
    for digest in digests
  )


def digest(parts: Iterable[Any]) -> str:
  """One digest of bytes or of contiguous arrays, in their order."""
  found = hashlib.blake2b(digest_size=16)
  for part in parts:
    found.update(part)
  return found.hexdigest()


def of_weights(params: Any) -> str:
  """One digest of all arrays of a network's weights, with their names and shapes."""
  arrays = jax.tree_util.tree_leaves_with_path(jax.device_get(params))
  parts = []
  for path, leaf in arrays:
    array = np.ascontiguousarray(leaf)
    head = f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}"
    parts += [head.encode(), array.tobytes()]
  return digest(parts)
