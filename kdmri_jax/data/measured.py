"""K-space as a source reads it: combined to images, or undersampled and kept."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import coil_noise
from kdmri_jax.data.sensitivities import Calibration, Sensitivities, estimated, unit
from kdmri_jax.data.spool import Spool, Spooling
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.h5 import NO_HEADER, RawHeader
from kdmri_jax.io.reading import reading, refuse_missing
from kdmri_jax.physics.coils import combination, prewhiten

COMBINED = (
  "The k-space of several coils was replaced by that of their zero-filled images' "
  "combination, restricted to the sampled points. No coil measured it: it only "
  "approximates the combination's own k-space, and data consistency enforces it."
)

_ROUNDING = 1e-6
_MOST_EMPTY = 0.01


class Measured(NamedTuple):
  """Undersampled k-space of one coil, of a combination, or of several coils.

  Attributes:
    kspace: complex64 [S, H, W], of several coils a spool [S, C, H, W]; orthonormal,
      zero frequency at [0, 0], 0 where not sampled.
    mask: where it was sampled, uint8 [H, W], zero frequency at [0, 0]; None where the
      file does not contain it.
    record: file, source, coils, combine and note.
    header: metadata of its file.
    sensitivities: of several coils, complex64 [S, C, H, W]; None for one.
  """

  kspace: np.ndarray | Spool
  mask: np.ndarray | None
  record: dict[str, Any]
  header: RawHeader = NO_HEADER
  sensitivities: Spool | None = None


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
    noise: reads samples of the coils' noise alone in the file, complex [C, N]; None
      where there are none. Those of NAME_noise.npy are used in their place, where it is
      there. They prewhiten coils that are kept, see `coils`.
    calibration: lines that were measured to calibrate the coils; None without any.
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
  noise: Callable[[], np.ndarray | None] = lambda: None
  calibration: Calibration | None = None

  def has_gaps(self) -> bool:
    """Whether the middle slice lacks more points than those of a border."""
    middle = self.read(self.count // 2)
    return bool(combination.missing_samples((middle != 0).any(0)))

  def volume(
    self,
    name: str,
    subject: str,
    way: str,
    split: str | None = None,
    method: str = "espirit",
  ) -> Volume:
    """The volume of fully sampled k-space, of coils combined by `combination.combine`.

    Args:
      name: of the volume.
      subject: of the volume.
      way: how coils are combined; "none" keeps the k-space of several coils.
      split: of the volume.
      method: see `coils`; for "none".

    Raises:
      UserError: k-space is undersampled, slices differ in shape, or sensitivities are
        missing, do not fit or cannot be estimated.
    """
    kept: list[Spooling] = []
    pairs: Iterable[tuple[np.ndarray, np.ndarray | None]]
    if way == "none" and len(self.read(0)) > 1:
      kept = [Spooling(), Spooling()]
      pairs = self._keeping(kept, method, whole=True)
    else:
      way = "" if way == "none" else way
      pairs = self.pairs(sensitivities=way == "sense")
    centred = self.centred_image
    images, found = combination.combine(pairs, way, self.path, centred_image=centred)
    record = self.record | self.details
    shifted = combination.shift_of(images)
    notes = (record.get("note"), found["note"], shifted, *self.notes)
    record |= found | {"note": " ".join(filter(None, notes))}
    arrays = {}
    if kept:
      names = "kspace", "sensitivities"
      arrays = {key: each.array() for key, each in zip(names, kept, strict=True)}
      record |= self._kept(method)
    more = {"split": split, "record": record, "header": self.header}
    return Volume(name, subject, images, **arrays, **more)

  def _keeping(
    self, kept: Sequence[Spooling], method: str, *, whole: bool
  ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `coils`; keeps both arrays, k-space uncentred."""
    for kspace, maps in self.coils(method, whole=whole):
      images = combination.to_image(kspace, centred_image=self.centred_image)
      kept[0].add(np.fft.fft2(images, norm="ortho").astype(np.complex64))
      kept[1].add(maps)
      yield kspace, maps

  def coils(
    self, method: str, *, whole: bool
  ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each slice, with the sensitivities of its coils, complex64 [C, H, W].

    Their root sum of squares is 1, or 0 where no coil is sensitive. Where there are
    samples of noise, the coils are first mixed so that their noise is independent and
    of equal variance, the mean of the variances before. Sensitivities are estimated
    from `calibration` where it is used, else from the slice's own k-space.

    Args:
      method: "given", or the method of `physics.coils.estimate`.
      whole: whether undersampled k-space is refused.

    Raises:
      UserError: sensitivities are missing, do not fit or cannot be estimated, or
        k-space is undersampled.
    """
    given = method == "given"
    pairs, lines = self.pairs(sensitivities=given), itertools.repeat(None)
    if not given and self.calibration and self.calibration.read:
      lines = self.calibration.read()
    for k, ((kspace, maps), own) in enumerate(zip(pairs, lines, strict=False)):
      if whole:
        combination.refuse_undersampled(kspace, k, self.path)
      if not np.isfinite(kspace).all():
        found = f"NaN or infinite values in slice {k}"
        raise UserError(self.path, found, "finite k-space", "Copy the file again.")
      kspace = self._white(kspace)
      if maps is not None:
        yield kspace, unit(self._white(maps))
      elif not kspace.any():
        yield kspace, np.zeros(kspace.shape, np.complex64)
      else:
        centre = kspace if own is None else self._white(own)
        yield kspace, self._estimated(centre, method, k)

  def _estimated(self, kspace: np.ndarray, method: str, k: int) -> np.ndarray:
    remedy = f"Give the sensitivities in {self._own_sensitivities.files[0]}"
    if self.calibration:
      remedy = f"{self.calibration.text} {remedy}"
    maps = estimated(kspace, method, self.path, k, remedy)
    return np.fft.fftshift(maps, (-2, -1)) if self.centred_image else maps

  def _kept(self, method: str) -> dict[str, Any]:
    """Entries for the record of coils that are kept."""
    kept = {"sensitivities": method, "prewhitened": self._covariance is not None}
    if self.calibration and method != "given":
      kept["calibration"] = self.calibration.text
    return kept

  @functools.cached_property
  def _covariance(self) -> np.ndarray | None:
    """See `coil_noise.covariance`; None where no noise was measured."""
    file, samples = coil_noise.read_beside(self.path)
    if samples is None:
      file, samples = self.path, self.noise()
    if samples is None:
      return None
    return coil_noise.covariance(samples, len(self.read(0)), file)

  def _white(self, values: np.ndarray) -> np.ndarray:
    covariance = self._covariance
    return values if covariance is None else prewhiten(values, covariance)

  def measured(self, config: DataConfig) -> Measured:
    """The undersampled k-space of one coil, of the coils' combination, or of the coils.

    Raises:
      UserError: several coils and another `config.combine` than "sense" or "none",
        missing or unfitting sensitivities, slices with different masks, or a sample
        that is not finite or outside the mask.
    """
    images, masks, count = [], [], len(self.read(0))
    if count > 1 and config.combine == "none":
      return self._measured_coils(config.sensitivities, count)
    if count > 1 and config.combine != "sense":
      found = f"undersampled k-space of {count} coils"
      expected = "k-space of one coil: no coil measured a root sum of squares"
      first, *more = self._own_sensitivities.files
      files = f"{first} to {more[-1].name}" if more else first
      remedy = (
        f"Put the sensitivities into {files} and combine by 'sense'; or keep the "
      )
      remedy += "coils by combine='none', for a network of two channels."
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

  def _measured_coils(self, method: str, count: int) -> Measured:
    kept, masks = [Spooling(), Spooling()], []
    for k, (kspace, _) in enumerate(self._keeping(kept, method, whole=False)):
      masks.append((kspace != 0).any(0) if self.sampled is None else self.sampled[k])
      _check(self.path, kspace, masks[-1])
    mask = np.fft.ifftshift(_one_sampling(self.path, masks)).astype(np.uint8)
    own = {"coils": count, "combine": "none", **self._kept(method)}
    kspaces, maps = (each.array() for each in kept)
    return Measured(kspaces, mask, self.record | own, self.header, maps)

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
        expected = f"the coil sensitivities of {self.path}"
        remedy = f"{remedy}, or combine the coils by 'rss', or keep them by 'none'."
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
    if self.sensitivities:
      return self.sensitivities
    file = walk.present(self.path.with_name(f"{self.path.stem}_sens.npy"))
    remedy = "Estimate them (ESPIRiT, for instance) and save them with numpy.save"
    read = functools.partial(np.load, file, mmap_mode="r", allow_pickle=False)
    return Sensitivities([file], read, remedy)


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
