"""Digests of slices, to find equal images without comparing pixels."""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from kdmri_jax.data.volume import Volume

CONSTANT = "="


def of_slices(images: np.ndarray) -> tuple[str, ...]:
  """A digest of each slice [H, W]; the digest of a constant slice begins with "="."""
  return tuple(
    (CONSTANT if np.all(image == image.flat[0]) else "")
    + digest([np.ascontiguousarray(image)])
    for image in images
  )


def add(volume: Volume) -> Volume:
  """The volume with the digests of its arrays, unless it has them already."""
  if volume.digests:
    return volume
  found = {key: of_slices(array) for key, array in volume.arrays.items()}
  return dataclasses.replace(volume, digests=found)


def of_volumes(volumes: Iterable[Volume]) -> str:
  """One digest of all the arrays of some volumes, in their order."""
  return digest(
    f"{key}:{digest}\n".encode()
    for volume in volumes
    for key, digests in sorted(volume.digests.items())
    for digest in digests
  )


def digest(parts: Iterable[Any]) -> str:
  """One digest of bytes or of contiguous arrays, in their order."""
  found = hashlib.blake2b(digest_size=16)
  for part in parts:
    found.update(part)
  return found.hexdigest()
