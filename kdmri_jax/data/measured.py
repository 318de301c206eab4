"""Undersampled k-space of one coil or of a combination of several."""

import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import NO_HEADER, RawHeader
from kdmri_jax.io.reading import reading
from kdmri_jax.physics import coils

SENSITIVITIES = "_sens.npy"
COMBINED = (
  "The k-space of several coils was replaced by that of their zero-filled images' "
  "combination, restricted to the sampled points. No coil measured it: it only "
  "approximates the combination's own k-space, and data consistency enforces it."
)

_ROUNDING = 1e-6
_MOST_EMPTY = 0.01


class Measured(NamedTuple):
  """Undersampled k-space of one coil, or of a combination.

  Attributes:
    kspace: complex64 [S, H, W], orthonormal, zero frequency at [0, 0], 0 where not
      sampled.
    mask: where it was sampled, uint8 [H, W], zero frequency at [0, 0]; None where the
      file does not contain it.
    record: file, source, coils, combine and note.
    header: metadata of its file.
  """

  kspace: np.ndarray
  mask: np.ndarray | None
  record: dict[str, Any]
  header: RawHeader = NO_HEADER


class Plane(NamedTuple):
  """The measurement of one slice.

  Attributes:
    kspace: centred, complex64 [C, H, W].
    maps: sensitivities of the coils, likewise; None for one coil.
    sampled: the sampled points, bool [H, W].
  """

  kspace: np.ndarray
  maps: np.ndarray | None
  sampled: np.ndarray


def of_planes(
  path: pathlib.Path,
  planes: Iterable[Plane],
  record: dict[str, Any],
  header: RawHeader = NO_HEADER,
  *,
  centred_image: bool = True,
) -> Measured:
  """Combines coils slice by slice and finds the mask.

  Args:
    path: the file, for messages.
    planes: the slices, all of one shape.
    record: of the file; coils, combine and note are added.
    header: metadata of the file.
    centred_image: see `coils.to_image`.

  Raises:
    UserError: slices have different masks, or a sample is not finite or outside the
      mask.
  """
  images, masks, count = [], [], 1
  for kspace, maps, sampled in planes:
    _check(path, kspace, sampled)
    own = coils.to_image(kspace, centred_image=centred_image)
    images.append(own[0] if maps is None else coils.by_sensitivity(own, maps))
    masks.append(sampled)
    count = len(kspace)
  points = _one_sampling(path, masks)
  mask = np.fft.ifftshift(points).astype(np.uint8)
  kspace = np.fft.fft2(np.stack(images), norm="ortho") * mask
  note = COMBINED if count > 1 else ""
  record = record | {"coils": count, "combine": "sense" if count > 1 else ""}
  record["note"] = " ".join(filter(None, (record.get("note"), note)))
  return Measured(kspace.astype(np.complex64), mask, record, header)


def by_zeros(slices: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[Plane]:
  """Planes of centred k-space [C, H, W] and sensitivities, with the mask from zeros.

  A point that is exactly zero in all coils was not sampled.
  """
  for kspace, maps in slices:
    yield Plane(kspace, maps, (kspace != 0).any(0))


def sensitivities(
  path: pathlib.Path, shape: tuple[int, ...], settings: DataConfig
) -> Iterable[np.ndarray | None]:
  """The sensitivities of each slice, from NAME_sens.npy beside the file NAME.

  Args:
    path: the file.
    shape: of its k-space: slices, coils, rows, columns.
    settings: their `combine` must be "sense" where there are several coils.

  Returns:
    For each slice complex [C, H, W], or None where there is one coil.

  Raises:
    UserError: several coils and another `combine`, no such file, or another shape.
  """
  own = path.with_name(path.stem + SENSITIVITIES)
  if shape[1] == 1:
    return [None] * shape[0]
  require_sense(path, shape[1], own.name, settings)
  if not own.is_file():
    remedy = "Estimate them (ESPIRiT, for instance) and save them with numpy.save"
    raise no_sensitivities(own, path, remedy)
  with reading(own):
    maps = np.load(own, mmap_mode="r", allow_pickle=False)
  if maps.shape != shape or maps.dtype.kind != "c":
    found = f"{maps.dtype} numbers of shape {maps.shape}"
    expected = f"complex numbers in the shape of the k-space, {shape}"
    raise UserError(own, found, expected, "Estimate the sensitivities from this file.")
  return maps


def no_sensitivities(own: pathlib.Path, path: pathlib.Path, remedy: str) -> UserError:
  """The error for a missing file `own` of the sensitivities of the file `path`."""
  expected = f"the coil sensitivities of {path.name}, which combine='sense' needs"
  remedy = f"{remedy}, or combine the coils by 'rss'."
  return UserError(own, "no such file", expected, remedy)


def require_sense(
  path: str | os.PathLike, count: int, name: str, settings: DataConfig
) -> None:
  """Refuses several coils that `settings.combine` does not combine by "sense".

  Args:
    path: the file, for the message.
    count: how many coils there are.
    name: of the file with their sensitivities.
    settings: the data settings.
  """
  if count > 1 and settings.combine != "sense":
    found = f"undersampled k-space of {count} coils"
    expected = "k-space of one coil: no coil measured a root sum of squares"
    remedy = f"Put the sensitivities into {name} beside it and combine by 'sense'."
    raise UserError(path, found, expected, remedy)


def _check(path, kspace, sampled):
  size = np.abs(kspace).max(0)
  outside = int((size[~sampled] > _ROUNDING * size.max()).sum())
  if not np.isfinite(size).all() or outside:
    found = "NaN or infinite values"
    if outside:
      found = f"samples at {outside} points outside its mask"
    expected = "k-space that is finite, and zero where the mask is"
    raise UserError(path, found, expected, "Copy the file again, or correct its mask.")


def _one_sampling(path, masks):
  """The common mask of the slices; refuses slices that differ."""
  sampled = np.any(masks, axis=0)
  for k, points in enumerate(masks):
    empty = int((sampled & ~points).sum())
    if points.any() and empty > _MOST_EMPTY * sampled.sum():
      found = f"slice {k} without {empty} of the points that other slices have"
      remedy = "Put slices with the same mask into one file."
      raise UserError(path, found, "one mask for all slices", remedy)
  return sampled
