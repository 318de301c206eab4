"""Arrays of the BART toolbox: Cartesian k-space or images, one volume per file."""

import pathlib
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import labelled_files, safe_name, subject_of
from kdmri_jax.data.measured import (
  Measured,
  by_zeros,
  no_sensitivities,
  of_planes,
  require_sense,
)
from kdmri_jax.data.source import FILE, Scan, Source, by_ending, note_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.cfl import SENSITIVITIES, read_cfl
from kdmri_jax.physics import coils

_MOSTLY = 2 / 3
_READOUT, _PHASE_1, _PHASE_2, _COILS, _SLICES = 0, 1, 2, 3, 13
_OTHERS = {
  4: "maps",
  5: "echo times",
  6: "coefficients",
  7: "coefficients 2",
  8: "iterations",
  9: "cyclic shifts",
  10: "time",
  11: "time 2",
  12: "levels",
  14: "averages",
  15: "batch",
}
_PLACES = {_READOUT: 0, _PHASE_2: 2, _SLICES: 4}


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
  k-space of one slice.

  Several coils, dimension 3, become their root sum of squares, or, by
  `config.combine="sense"`, one complex image, with the coils' sensitivities in
  NAME_sens.cfl, NAME_sens.hdr. K-space of one coil gives a complex image. An image
  without any imaginary or negative part becomes real.

  Raises:
    UserError: no file, a damaged one, another dimension in use, undersampled or
      non-Cartesian k-space, or missing or unfitting sensitivities.
  """
  if config.contrast not in ("", "kspace", "image"):
    expected = "'kspace' or 'image', the content of the files"
    raise ArgumentError("contrast", repr(config.contrast), expected)
  holding = "pairs NAME.cfl, NAME.hdr of the BART toolbox"
  use = lambda path: not path.stem.endswith(SENSITIVITIES)  # noqa: E731
  for path, label in labelled_files(config, [".cfl"], holding, use):
    yield _volume(config, path, label)


def kspace_slices(
  path: pathlib.Path, *, sensitivities: bool
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
  """The slices of one file of k-space, which may be undersampled.

  Args:
    path: NAME.cfl, with slices as in `volumes`.
    sensitivities: whether to read those of the coils, from NAME_sens.cfl.

  Yields:
    Centred k-space, complex64 [C, H, W], and the sensitivities, likewise, or None.

  Raises:
    UserError: a damaged file, another dimension in use, non-Cartesian k-space, or
      missing or unfitting sensitivities.
  """
  data, _ = _five_dimensions(path)
  along = _slices_along(path, data.shape, is_image=False)
  maps = _sensitivities(path, data.shape) if sensitivities else None
  if along == _READOUT:
    data = _image_along_readout(data)
  yield from zip(_slices(data, along), _slices(maps, along), strict=False)


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
    UserError: as `kspace_slices`; slices that were sampled differently; several coils
      without sensitivities.
  """
  path = path.with_suffix(".cfl")
  if config.contrast not in ("kspace", "image"):
    found = f"{config.contrast!r} for {path}, which does not tell what it holds"
    raise ArgumentError("contrast", found, "'kspace' or 'image'")
  if config.contrast == "kspace":
    measured = _undersampled(path, config)
    if measured is not None:
      return measured
  return _volume(config, path, path.stem)


def _undersampled(path: pathlib.Path, config: DataConfig) -> Measured | None:
  sense = config.combine == "sense"
  planes = list(by_zeros(kspace_slices(path, sensitivities=sense)))
  sampled = np.any([plane.sampled for plane in planes], axis=0)
  if sampled.mean() > _MOSTLY and not coils.missing_samples(sampled):
    return None
  maps = f"{path.stem}{SENSITIVITIES}.cfl"
  require_sense(path, len(planes[0].kspace), maps, config)
  data, _ = _five_dimensions(path)
  along = _slices_along(path, data.shape, is_image=False)
  record = {"file": str(path), "slices_along_dimension": along}
  return of_planes(path, planes, record)


def _volume(config, path, label):
  data, shape = _five_dimensions(path)
  is_image = config.contrast == "image"
  along = _slices_along(path, data.shape, is_image)
  way = coils.chosen(config.combine, "rss", "sense")
  way = way or ("rss" if data.shape[3] > 1 else "")
  record = {"file": str(path), "file_shape": shape, "slices_along_dimension": along}
  notes = []
  if is_image:
    maps = _sensitivities(path, data.shape) if way == "sense" else None
    images, found = _combined(_slices(data, along), _slices(maps, along), way)
  else:
    if not config.contrast:
      notes.append("The files are read as k-space, because data.contrast is not set.")
    if along != _READOUT:
      record["phase_encode_axis"] = 1
    slices = kspace_slices(path, sensitivities=way == "sense")
    images, found = coils.combine(slices, way, path)
  notes += [found.pop("note"), note_of(config)]
  record |= found | {"note": " ".join(filter(None, notes))}
  subject = subject_of(config, path, label)
  return Volume(safe_name(label), subject, images, record=record)


def _five_dimensions(path: pathlib.Path):
  """A view [readout, phase 1, phase 2, coils, slices], and the shape in the file."""
  data = read_cfl(path)
  for dimension, meaning in _OTHERS.items():
    if data.shape[dimension] > 1:
      found = f"{data.shape[dimension]} entries in dimension {dimension} ({meaning})"
      expected = "readout, phase encoding, coils and slices: dimensions 0 to 3 and 13"
      remedy = f"Take one entry with: bart slice {dimension} 0 INPUT OUTPUT"
      raise UserError(path, found, expected, remedy)
  sizes = [*data.shape[: _COILS + 1], data.shape[_SLICES]]
  return data.reshape(sizes, order="F"), list(data.shape)


def _slices_along(path, shape, is_image):
  """The dimension of the slices; refuses arrays that are not a stack of planes."""
  if shape[2] > 1 and shape[4] > 1:
    found = f"{shape[2]} entries in dimension 2 and {shape[4]} in dimension 13"
    remedy = "Take one slab with: bart slice 13 0 INPUT OUTPUT"
    raise UserError(path, found, "slices along one of them", remedy)
  if min(shape[:2]) == 1:
    found = f"the dimensions {list(shape[:3])} (readout and phase encoding 1 and 2)"
    expected = "Cartesian planes: dimensions 0 and 1 larger than 1"
    remedy = "Non-Cartesian samples must be gridded first, as by: bart nufft -a"
    raise UserError(path, found, expected, remedy)
  if shape[2] == 1:
    return _SLICES
  return _PHASE_2 if is_image else _READOUT


def _sensitivities(path, shape):
  own = path.with_name(f"{path.stem}{SENSITIVITIES}.cfl")
  if not own.is_file():
    command = f"bart ecalib -m 1 {path.stem} {own.stem}"
    raise no_sensitivities(own, path, f"Write them with: {command}")
  maps, _ = _five_dimensions(own)
  if maps.shape != shape:
    found = f"dimensions 0 to 3 and 13 of {list(maps.shape)}"
    expected = f"those of {path.name}, {list(shape)}"
    raise UserError(own, found, expected, "Compute the sensitivities from this file.")
  return maps


def _slices(data, along):
  """Yields [coils, rows, columns]; None without end where there is no data."""
  if data is None:
    while True:
      yield None
  for k in range(data.shape[_PLACES[along]]):
    plane = np.moveaxis(data, _PLACES[along], 0)[k]
    kept = plane[:, :, 0] if along == _SLICES else plane[..., 0]
    yield np.moveaxis(kept, 2, 0)


def _image_along_readout(kspace):
  """Centred inverse FFT along the readout of k-space [R, P1, P2, C, 1], by coil."""
  hybrid = np.empty(kspace.shape, np.complex64)
  for coil in range(kspace.shape[3]):
    uncentred = np.fft.ifftshift(kspace[..., coil, 0], axes=0)
    hybrid[..., coil, 0] = np.fft.fftshift(
      np.fft.ifft(uncentred, axis=0, norm="ortho"), axes=0
    )
  return hybrid


def _combined(slices, maps, way):
  """Images of coils that are already images, and entries for the record."""
  images = []
  for image, sensitivities in zip(slices, maps, strict=False):
    if way == "rss":
      images.append(coils.root_sum_of_squares(image))
    else:
      images.append(coils.by_sensitivity(image, sensitivities) if way else image[0])
  count, stack = len(image), np.stack(images)
  if np.iscomplexobj(stack) and not stack.imag.any() and stack.real.min() >= 0:
    stack = stack.real
  note = coils.COMBINED[way] if way else "K-space is simulated from processed images."
  record = {"coils": count, "combine": way, "simulated_kspace": True, "note": note}
  return stack, record


SOURCE = Source(
  volumes,
  takes=("contrast", "combine"),
  unit=FILE,
  files="BART (.cfl)",
  recognise=by_ending(".cfl", ".hdr"),
  read=read,
)
