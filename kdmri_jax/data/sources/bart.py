"""Arrays of the BART toolbox: Cartesian k-space or images, one volume per file."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import choose, named_files, root_folder, safe_name
from kdmri_jax.data.measured import RawScan
from kdmri_jax.data.sensitivities import Sensitivities
from kdmri_jax.data.source import FILE, Scan, Source, by_ending, note_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import walk
from kdmri_jax.io.cfl import SENSITIVITIES, pair, read_cfl
from kdmri_jax.io.nifti import is_pair
from kdmri_jax.physics.coils import combination

_MOSTLY = 2 / 3
_PEAK = 10  # times the usual energy of a line that the strongest Cartesian one has
_DIMENSIONS = (
  "readout, phase 1, phase 2, coils, maps, echo times, coefficients, coefficients 2, "
  "iterations, cyclic shifts, time, time 2, levels, slices, averages, batch"
)
_READOUT, _PHASE_2, _SLICES, _AVERAGES = 0, 2, 13, 14
_READ = (_READOUT, 1, _PHASE_2, 3, _SLICES)
# The axes (slices, coils, rows, columns), once the unused dimension is dropped.
_ORDER = {_READOUT: (0, 3, 1, 2), _PHASE_2: (2, 3, 0, 1), _SLICES: (3, 2, 0, 1)}


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every pair NAME.cfl, NAME.hdr below the root, in the order of their paths.

  `config.contrast` gives the content, which the files do not tell: "kspace" (also for
  "") or "image". Both are centred as by BART's `fft`: k-space has its zero frequency
  and an image its origin at N // 2.

  Rows and columns are BART's dimensions 0 (readout) and 1 (phase encoding), slices its
  dimension 13. Where dimension 2 is used instead, the slices of images lie along it;
  k-space was then acquired in 3-D, and an inverse FFT along the readout, which is
  always fully sampled, divides it into slices of dimensions 1 (rows) and 2 (columns),
  both phase-encoded. Memory then holds the whole k-space of the volume, otherwise the
  k-space of one slice. A readout of one entry gives one slice of dimensions 1 and 2, if
  its k-space is not that of radial or spiral lines.

  Several coils, dimension 3, become their root sum of squares, or, by
  `config.combine="sense"`, one complex image, with the coils' sensitivities in
  NAME_sens.cfl, NAME_sens.hdr; "none" keeps their k-space beside that image. K-space of
  one coil gives a complex image. An image
  without any imaginary or negative part becomes real.

  With `config.repeats` dimension 14 (averages) holds repeated acquisitions.

  Raises:
    UserError: no file, a damaged one, another dimension in use, undersampled or
      non-Cartesian k-space, or missing or unfitting sensitivities.
  """
  choose(config, "kspace", ["kspace", "image"], root_folder(config))
  holding = "pairs NAME.cfl, NAME.hdr of the BART toolbox"
  use = lambda path: not path.stem.endswith(SENSITIVITIES)  # noqa: E731
  for path, name, subject in named_files(config, [".cfl"], holding, use=use):
    if not config.repeats:
      yield _volume(config, _scan(config, path), name, subject)
      continue
    repeats = range(read_cfl(path).shape[_AVERAGES])
    every = [_volume(config, _scan(config, path, k), name, subject) for k in repeats]
    stacked = np.stack([volume.target for volume in every])
    yield dataclasses.replace(every[0], target=stacked)


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads a file for reconstruction: images, or k-space, which may be undersampled.

  Points that are exactly zero in all coils were not sampled. K-space counts as fully
  sampled without empty lines between others and with more than two thirds of its
  points; its border may be empty.

  Args:
    path: NAME.cfl or NAME.hdr, with slices as in `volumes`.
    config: its `contrast` is the content of the file; `combine` is "sense" for
      undersampled k-space of several coils, whose sensitivities NAME_sens.cfl holds.

  Raises:
    ArgumentError: another `contrast`.
    UserError: a damaged file, another dimension in use, non-Cartesian k-space, slices
      that were sampled differently, or missing or unfitting sensitivities.
  """
  path = walk.present(pair(path)[1])
  if config.contrast not in ("kspace", "image"):
    found = f"{config.contrast!r} for {path}, which does not tell what it holds"
    raise ArgumentError("contrast", found, "'kspace' or 'image'")
  scan = _scan(config, path)
  if config.contrast == "kspace":
    sampled = np.any([(scan.read(k) != 0).any(0) for k in range(scan.count)], axis=0)
    if sampled.mean() <= _MOSTLY or combination.missing_samples(sampled):
      return scan.measured(config)
  return _volume(config, scan, safe_name(path.stem), path.stem)


def _scan(config: DataConfig, path: pathlib.Path, repeat: int | None = None) -> RawScan:
  """The k-space of a file or of one repeat in it, or its images in place of k-space."""
  data, shape = _five_dimensions(path, repeat)
  along = _slices_along(path, data, config.contrast == "image")
  details: dict[str, Any] = {"file_shape": shape}
  if not config.contrast:
    note = "The files are read as k-space, because data.contrast is not set."
    details["note"] = note
  if config.contrast != "image" and along != _READOUT:
    details["phase_encode_axis"] = 1
  stack = _stack(_image_along_readout(data) if along == _READOUT else data, along)
  file = walk.present(path.with_name(f"{path.stem}{SENSITIVITIES}.cfl"))

  def read_maps():
    maps, _ = _five_dimensions(file)
    if maps.shape != data.shape:
      found = f"dimensions 0 to 3 and 13 of {list(maps.shape)}"
      expected = f"those of {path.name}, {list(data.shape)}"
      remedy = "Compute the sensitivities from this file."
      raise UserError(file, found, expected, remedy)
    return _stack(maps, along)

  remedy = f"Write them with: bart ecalib -m 1 {path.stem} {file.stem}"
  maps = Sensitivities([file], read_maps, remedy)
  record = {"file": str(path), "slices_along_dimension": along}
  read_slice, notes = stack.__getitem__, [note_of(config)]
  return RawScan(path, len(stack), read_slice, record, details, None, maps, notes=notes)


def _volume(config: DataConfig, scan: RawScan, name: str, subject: str) -> Volume:
  count = len(scan.read(0))
  is_image = config.contrast == "image"
  ways = ("rss", "sense") if is_image else ("rss", "sense", "none")
  way = combination.chosen(config.combine, *ways) or ("rss" if count > 1 else "")
  if not is_image:
    return scan.volume(name, subject, way, method=config.sensitivities)
  combine = {
    "": lambda images, maps: images[0],
    "rss": lambda images, maps: combination.root_sum_of_squares(images),
    "sense": combination.by_sensitivity,
  }[way]
  pairs = scan.pairs(sensitivities=way == "sense")
  images = np.stack([combine(own, maps) for own, maps in pairs])
  if np.iscomplexobj(images) and not images.imag.any() and images.real.min() >= 0:
    images = images.real
  note = (
    combination.COMBINED[way] if way else "K-space is simulated from processed images."
  )
  record = scan.record | scan.details | {"coils": count, "combine": way}
  record |= {"simulated_kspace": True, "note": f"{note} {note_of(config)}".strip()}
  return Volume(name, subject, images, record=record)


def _five_dimensions(
  path: pathlib.Path, repeat: int | None = None
) -> tuple[np.ndarray, list[int]]:
  """A view [readout, phase 1, phase 2, coils, slices], and the shape in the file.

  `repeat` is the one that is read of dimension 14; None for a file without repeats.
  """
  data: np.ndarray = read_cfl(path)
  whole = list(data.shape)
  if repeat is not None:
    data = np.take(data, [repeat], _AVERAGES)
  for dimension, size in enumerate(data.shape):
    if size > 1 and dimension not in _READ:
      meaning = _DIMENSIONS.split(", ")[dimension]
      found = f"{size} entries in dimension {dimension} ({meaning})"
      expected = "readout, phase encoding, coils and slices: dimensions 0 to 3 and 13"
      remedy = f"Take one entry with: bart slice {dimension} 0 INPUT OUTPUT"
      if dimension == _AVERAGES:
        remedy += "; or set data.repeats for pairs of repeated acquisitions"
      raise UserError(path, found, expected, remedy)
  sizes = [data.shape[dimension] for dimension in _READ]
  return data.reshape(sizes, order="F"), whole


def _slices_along(path, data, is_image):
  """The dimension of the slices; refuses arrays that are not a stack of planes."""
  shape = data.shape
  if shape[2] > 1 and shape[4] > 1:
    found = f"{shape[2]} entries in dimension 2 and {shape[4]} in dimension 13"
    remedy = "Take one slab with: bart slice 13 0 INPUT OUTPUT"
    raise UserError(path, found, "slices along one of them", remedy)
  if shape[0] == 1 and min(shape[1:3]) > 1 and (is_image or _is_cartesian(data)):
    return _READOUT
  if min(shape[:2]) == 1:
    found = f"the dimensions {list(shape[:3])} (readout and phase encoding 1 and 2)"
    expected = "Cartesian planes: dimensions 0 and 1, or 1 and 2, larger than 1"
    remedy = "Move the plane there with: bart transpose A B INPUT OUTPUT"
    if shape[0] == 1 and min(shape[1:3]) > 1:
      found += ", in which all lines along dimension 1 have similar energy"
      remedy = "Non-Cartesian samples must be gridded first, as by: bart nufft -a"
    raise UserError(path, found, expected, remedy)
  if shape[2] == 1:
    return _SLICES
  return _PHASE_2 if is_image else _READOUT


def _is_cartesian(kspace) -> bool:
  """Whether k-space [1, P1, P2, C, 1] is a plane, and not lines through its centre.

  BART stores the samples of radial and spiral lines as [1, samples, lines, coils]. Each
  of these passes the centre. Of Cartesian lines the middle ones have most energy.
  """
  energy = np.zeros(kspace.shape[2])
  for coil in range(kspace.shape[3]):
    energy += np.sum(np.abs(kspace[0, :, :, coil, 0]) ** 2, axis=0, dtype=np.float64)
  measured = energy[energy > 0]
  return measured.size > 0 and measured.max() > _PEAK * np.median(measured)


def _stack(data, along):
  """A view [slices, coils, rows, columns] of the five dimensions."""
  kept = data[:, :, 0] if along == _SLICES else data[..., 0]
  return kept.transpose(_ORDER[along])


def _image_along_readout(kspace):
  """Centred inverse FFT along the readout of k-space [R, P1, P2, C, 1], by coil."""
  hybrid = np.empty(kspace.shape, np.complex64)
  for coil in range(kspace.shape[3]):
    uncentred = np.fft.ifftshift(kspace[..., coil, 0], axes=0)
    hybrid[..., coil, 0] = np.fft.fftshift(
      np.fft.ifft(uncentred, axis=0, norm="ortho"), axes=0
    )
  return hybrid


SOURCE = Source(
  volumes,
  takes=("contrast", "combine", "repeats"),
  unit=FILE,
  files="BART (.cfl)",
  recognise=lambda path: by_ending(".cfl", ".hdr")(path) and not is_pair(path),
  read=read,
)
