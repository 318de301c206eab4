"""K-space as a source reads it: combined to images, or undersampled and kept."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.h5 import NO_HEADER, RawHeader
from kdmri_jax.io.reading import reading, refuse_missing
from kdmri_jax.physics.coils import combination

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


class Sensitivities(NamedTuple):
  """The sensitivities of a scan's coils.

  Attributes:
    files: their file, or one per slice.
    read: reads those of each slice, complex [C, H, W].
    remedy: the way to obtain a missing file, without a full stop.
  """

  files: Sequence[pathlib.Path]
  read: Callable[[], Iterable[np.ndarray]]
  remedy: str


@dataclasses.dataclass(frozen=True)
class RawScan:
  """The k-space of one scan, whose slices are read one by one.

  Attributes:
    path: its file or folder.
    count: number of slices, at least 1.
    read: reads slice k, complex64 [C, H, W], centred; called in the order of k, with 0
      several times; `has_gaps` reads the middle slice first.
    record: entries for the record of its volume or measurement.
    details: further entries for that of its volume.
    sampled: the sampled points of each slice, bool [S, H, W]; None where the points
      that are exactly zero in all coils were not sampled.
    sensitivities: of the coils; None for NAME_sens.npy beside the file NAME, complex
      in the shape of the k-space, (slices, coils, rows, columns).
    header: metadata of the file.
    notes: sentences for the end of the note of its volume.
    centred_image: see `combination.to_image`.
  """

  path: pathlib.Path
  count: int
  read: Callable[[int], np.ndarray]
  record: dict[str, Any]
  details: dict[str, Any] = dataclasses.field(default_factory=dict)
  sampled: np.ndarray | None = None
  sensitivities: Sensitivities | None = None
  header: RawHeader = NO_HEADER
  notes: Sequence[str] = ()
  centred_image: bool = True

  def has_gaps(self) -> bool:
    """Whether the middle slice lacks more points than those of a border."""
    middle = self.read(self.count // 2)
    return bool(combination.missing_samples((middle != 0).any(0)))

  def volume(
    self, name: str, subject: str, way: str, split: str | None = None
  ) -> Volume:
    """The volume of fully sampled k-space, of coils combined by `combination.combine`.

    Raises:
      UserError: k-space is undersampled, slices differ in shape, or sensitivities are
        missing or do not fit.
    """
    pairs = self.pairs(sensitivities=way == "sense")
    centred = self.centred_image
    images, found = combination.combine(pairs, way, self.path, centred_image=centred)
    record = self.record | self.details
    notes = (record.get("note"), found["note"], *self.notes)
    record |= found | {"note": " ".join(filter(None, notes))}
    return Volume(name, subject, images, None, None, split, record, header=self.header)

  def measured(self, config: DataConfig) -> Measured:
    """The undersampled k-space of one coil, or of the coils' combination.

    Raises:
      UserError: several coils and another `config.combine` than "sense", missing or
        unfitting sensitivities, slices with different masks, or a sample that is not
        finite or outside the mask.
    """
    images, masks, count = [], [], len(self.read(0))
    if count > 1 and config.combine != "sense":
      found = f"undersampled k-space of {count} coils"
      expected = "k-space of one coil: no coil measured a root sum of squares"
      first, *more = self._own_sensitivities.files
      files = f"{first} to {more[-1].name}" if more else first
      remedy = f"Put the sensitivities into {files} and combine by 'sense'."
      raise UserError(self.path, found, expected, remedy)
    for k, (kspace, maps) in enumerate(self.pairs(sensitivities=count > 1)):
      points = (kspace != 0).any(0) if self.sampled is None else self.sampled[k]
      _check(self.path, kspace, points)
      own = combination.to_image(kspace, centred_image=self.centred_image)
      images.append(own[0] if maps is None else combination.by_sensitivity(own, maps))
      masks.append(points)
    mask = np.fft.ifftshift(_one_sampling(self.path, masks)).astype(np.uint8)
    kspace = np.fft.fft2(np.stack(images), norm="ortho") * mask
    record = self.record | {"coils": count, "combine": "sense" if count > 1 else ""}
    notes = (record.get("note"), COMBINED if count > 1 else "")
    record["note"] = " ".join(filter(None, notes))
    return Measured(kspace.astype(np.complex64), mask, record, self.header)

  def pairs(
    self, *, sensitivities: bool
  ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Each slice, with the sensitivities of its coils or None.

    Raises:
      UserError: sensitivities are missing or do not fit.
    """
    slices = map(self.read, range(self.count))
    if not sensitivities:
      yield from zip(slices, itertools.repeat(None), strict=False)
      return
    files, read, remedy = self._own_sensitivities
    for file in files:
      refuse_missing(file)
      if not file.is_file():
        expected = f"the coil sensitivities of {self.path}, which combine='sense' needs"
        remedy = f"{remedy}, or combine the coils by 'rss'."
        raise UserError(file, "no such file", expected, remedy)
    with reading(files[0]):
      pairs = itertools.zip_longest(slices, read(), fillvalue=np.empty(0))
    for k, (kspace, maps) in enumerate(pairs):
      if maps.shape != kspace.shape or maps.dtype.kind != "c":
        found = f"{maps.dtype} numbers of shape {maps.shape} for slice {k}"
        expected = f"complex numbers in the shape of its k-space, {kspace.shape}"
        if not maps.size or not kspace.size:
          found = f"{'more' if maps.size else 'fewer'} slices than the k-space has"
          expected = "the sensitivities of each slice"
        remedy = f"Estimate the sensitivities from {self.path}."
        raise UserError(files[min(k, len(files) - 1)], found, expected, remedy)
      yield kspace, maps

  @property
  def _own_sensitivities(self) -> Sensitivities:
    file = walk.present(self.path.with_name(f"{self.path.stem}_sens.npy"))
    remedy = "Estimate them (ESPIRiT, for instance) and save them with numpy.save"
    read = functools.partial(np.load, file, mmap_mode="r", allow_pickle=False)
    return self.sensitivities or Sensitivities([file], read, remedy)


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
