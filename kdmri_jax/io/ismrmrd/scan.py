"""ISMRM raw data (MRD): one Cartesian acquisition, 2-D or 3-D, in an HDF5 file."""

import contextlib
import dataclasses
import functools
import itertools
import operator
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np

from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.h5 import RawHeader, plain
from kdmri_jax.io.h5 import opened as h5_opened
from kdmri_jax.io.ismrmrd import calibration as calibrations
from kdmri_jax.io.ismrmrd import grid as grids
from kdmri_jax.io.ismrmrd import planes as planes_lib
from kdmri_jax.optional import require

_APART = "separate", "external"  # modes of calibration
_CALIBRATION = "PARALLEL_CALIBRATION"
_LEFT_OUT = (
  "NOISE_MEASUREMENT",
  _CALIBRATION,
  "NAVIGATION_DATA",
  "PHASECORR_DATA",
  "HPFEEDBACK_DATA",
  "DUMMYSCAN_DATA",
  "RTFEEDBACK_DATA",
  "SURFACECOILCORRECTIONSCAN_DATA",
  "PHASE_STABILIZATION_REFERENCE",
  "PHASE_STABILIZATION",
)
_RECORDED = {
  "acquisitionSystemInformation": (
    "systemVendor",
    "systemModel",
    "systemFieldStrength_T",
  ),
  "sequenceParameters": ("sequence_type", "TR", "TE", "TI", "flipAngle_deg"),
}
_ONE_ONLY = {
  "phase": "phases",
  "repetition": "repetitions",
  "set": "sets",
}
_POINT = "slice", "kspace_encode_step_1", "kspace_encode_step_2"


@dataclasses.dataclass(frozen=True)
class Scan:
  """The k-space of a file.

  Attributes:
    slices: centred k-space of each slice, complex64 [C, H, W], read one by one.
    sampled: the measured points of each slice, bool [S, H, W].
    shape: slices, coils, rows and columns.
    header: the header as text.
    notes: sentences for the record.
    record: acquisitions that were read and omitted; nothing about the patient, place or
      date.
    noise: reads the samples of the noise readouts, complex64 [C, N]; None without any.
    calibration: the calibration lines that are no part of the image; None without any.
    is_3d: whether the slices are those of a 3-D acquisition.
  """

  slices: Iterator[np.ndarray]
  sampled: np.ndarray
  shape: tuple[int, int, int, int]
  header: RawHeader
  notes: list[str]
  record: dict[str, Any]
  noise: Callable[[], np.ndarray | None]
  calibration: Callable[[], calibrations.Calibration | None]
  is_3d: bool


class _Layout(NamedTuple):
  """The k-space of an image; `read` fills it with the acquisitions of some indices."""

  sampled: np.ndarray
  shape: tuple[int, int, int, int]
  notes: list[str]
  record: dict[str, Any]
  axes: list[calibrations.Axis]
  read: Callable[[h5py.Dataset, np.ndarray, np.ndarray], Iterator[np.ndarray]]


def measurements(file: h5py.File) -> list[str]:
  """The names of the groups of a file that hold a measurement of ISMRM raw data."""
  groups = {name: part for name, part in file.items() if isinstance(part, h5py.Group)}
  return [name for name, group in groups.items() if {"xml", "data"} <= set(group)]


def repeats(path: pathlib.Path, contrast: str) -> int:
  """The number of repeated acquisitions of a file.

  They are its repetitions, or of one repetition its averages.

  Args:
    path: the file.
    contrast: see `opened`.

  Raises:
    ArgumentError: see `opened`.
    UserError: ismrmrd is not installed, the file is damaged, or a repeat has other
      lines than the first.
  """
  package = require("ismrmrd", "data", path, "ISMRM raw data")
  with h5_opened(path) as file:
    group = _group(path, file)
    heads = group["data"].fields("head")[:]
    mode = _calibration_mode(_header(package, group["xml"][0]).encoding[0])
    kept, _, _ = _imaging(path, heads, package, contrast, mode)
  counters = heads["idx"][kept]
  counter = _repeated_by(counters)
  points = np.stack([counters[name] for name in _POINT])
  numbers = np.unique(counters[counter])
  every = [np.unique(points[:, counters[counter] == k], axis=1) for k in numbers]
  for number, own in zip(numbers, every, strict=True):
    if not np.array_equal(own, every[0]):
      counts = f"{own.shape[1]} and {every[0].shape[1]}"
      found = f"other lines in {counter} {number} than in {numbers[0]} ({counts})"
      remedy = "Exclude the file, or remove the repeats that are not complete."
      raise UserError(path, found, "the same lines in each repeat", remedy)
  return len(numbers)


@contextlib.contextmanager
def opened(
  path: pathlib.Path, contrast: str, *, partial: bool, repeat: int | None = None
) -> Iterator[Scan]:
  """Opens a file to read one scan.

  Lines flagged as calibration alone belong to it where the header says that they are
  embedded.

  Args:
    path: the file.
    contrast: number of an echo; "" for files with one echo.
    partial: whether lines may be missing, which those of a 3-D acquisition always may.
    repeat: which of the `repeats` to read, from 0; None reads the only repetition, of
      which averages are averaged.

  Raises:
    ArgumentError: `contrast` is not an echo of the file.
    UserError: ismrmrd is not installed, or the file is damaged, has missing lines or
      samples (undersampling, partial Fourier, partial echo) that `partial` does not
      allow, another trajectory, several phases, repetitions, sets or 3-D slabs.
  """
  package = require("ismrmrd", "data", path, "ISMRM raw data")
  with h5_opened(path) as file:
    group = _group(path, file)
    text = group["xml"][0]
    header = _header(package, text)
    encoding = header.encoding[0]
    heads = group["data"].fields("head")[:]
    mode = _calibration_mode(encoding)
    kept, separate, record = _imaging(path, heads, package, contrast, mode)
    if repeat is not None:
      counter = _repeated_by(heads["idx"][kept])
      numbers = heads["idx"][counter][kept]
      kept = kept[numbers == np.unique(numbers)[repeat]]
      record["repeats_are"] = f"{counter}s"
    own = heads[kept]
    if found := _unsupported(encoding, own, package):
      expected = "a Cartesian acquisition with one image per slice"
      remedy = "Exclude the file, or write its k-space as BART's cfl"
      if found.endswith("repetitions"):
        remedy += "; or set data.repeats for pairs of repeated acquisitions"
      remedy += "."
      raise UserError(path, found, expected, remedy)
    is_3d = len(np.unique(own["idx"]["kspace_encode_step_2"])) > 1
    layout = (_of_planes if is_3d else _of_slices)(path, encoding, own, partial)
    read = functools.partial(layout.read, group["data"], heads)
    record |= _described(header) | {"file": str(path), "file_shape": [len(heads)]}

    def calibration():
      if not separate.size:
        return None
      lines = heads[separate]
      found = _unsupported(encoding, lines, package)
      problem = found and f"they have {found}"
      problem = problem or calibrations.problem(lines, own, layout.axes)
      points = np.zeros(layout.shape[2:], bool)
      if not problem:
        points |= calibrations.sampled(lines, layout.axes)
      return calibrations.Calibration(problem, points, read(separate))

    yield Scan(
      read(kept),
      layout.sampled,
      layout.shape,
      RawHeader(plain(text)),
      layout.notes,
      record | layout.record,
      functools.partial(_noise, path, group["data"], heads, package),
      calibration,
      is_3d,
    )


def _of_slices(path, encoding, own, partial):
  grid = grids.grid(path, encoding, own, partial=partial)
  lines = grids.lines(path, grid, own, partial=partial)
  shape = len(lines), int(own["active_channels"][0]), grid.count, grid.columns
  sampled = np.broadcast_to(lines[..., None], (len(lines), *shape[2:]))
  axes = [calibrations.Axis(grids.LINES, grid.first, grid.count, grid.shifts[0])]
  read = functools.partial(grids.slices, grid)
  return _Layout(sampled, shape, grid.notes, grid.record, axes, read)


def _of_planes(path, encoding, own, partial):
  planes = planes_lib.planes(path, encoding, own, partial=partial)
  sampled, shape = planes.sampled, planes.shape
  every = np.broadcast_to(sampled, (shape[0], *sampled.shape))
  words = grids.LINES, grids.PARTITIONS
  values = zip(words, planes.first, shape[2:], planes.shifts[:2], strict=True)
  axes = list(itertools.starmap(calibrations.Axis, values))
  read = functools.partial(planes_lib.slices, planes)
  return _Layout(every, shape, planes.notes, planes.record, axes, read)


def _group(path, file):
  names = measurements(file)
  if len(names) != 1:
    found = (
      f"{len(names)} groups with 'xml' and 'data' (the keys are: {', '.join(file)})"
    )
    remedy = "Keep one measurement per file; other h5 files need another data source."
    raise UserError(path, found, "one measurement of ISMRM raw data", remedy)
  return file[names[0]]


def _header(package, text):
  header = package.xsd.CreateFromDocument(text)
  if not header.encoding:
    raise ValueError("the header has no section `encoding`")
  return header


def _calibration_mode(encoding):
  mode = getattr(encoding.parallelImaging, "calibrationMode", "")
  return getattr(mode, "value", mode)


def _imaging(path, heads, package, contrast, mode):
  """Indices of the acquisitions of the image, those of separate calibration, a record.

  Calibration lines of the image belong to the others, unless `mode` tells them apart.
  """
  others = {name: _flagged(package, heads, name) for name in _LEFT_OUT}
  both = _flagged(package, heads, "PARALLEL_CALIBRATION_AND_IMAGING")
  others[_CALIBRATION] &= ~(both | (mode == "embedded"))
  disturbed = np.any([others[name] for name in _LEFT_OUT if name != _CALIBRATION], 0)
  unflagged = ~np.any([*others.values()], axis=0)
  others["other encoding spaces"] = unflagged & (heads["encoding_space_ref"] != 0)
  keep = unflagged & ~others["other encoding spaces"]
  echoes = sorted(set(heads["idx"]["contrast"][keep].tolist()))
  echo = int(contrast) if contrast.isdecimal() else contrast
  if len(echoes) == 1 and not contrast:
    echo = echoes[0]
  if echo not in echoes:
    found = f"{contrast!r}, which is not an echo of {path}"
    expected = f"one of the echoes {', '.join(map(str, echoes)) or '(there is none)'}"
    raise ArgumentError("contrast", found, expected)
  keep &= heads["idx"]["contrast"] == echo
  left_out = {name: int(own.sum()) for name, own in others.items() if own.any()}
  record = {"acquisitions_left_out": left_out, "contrast": str(echo)}
  separate = others[_CALIBRATION] & ~disturbed
  if separate.any():
    if mode not in _APART:
      separate |= both & ~disturbed
    own = heads["idx"]["contrast"]
    separate &= own == (echo if echo in own[separate] else own[separate].min())
  return np.flatnonzero(keep), np.flatnonzero(separate), record


def _repeated_by(counters):
  """The counter of repeated acquisitions."""
  return "repetition" if len(set(counters["repetition"].tolist())) > 1 else "average"


def _noise(path, data, heads, package):
  """The samples of the noise readouts, complex64 [C, N], or None."""
  rows = np.flatnonzero(_flagged(package, heads, "NOISE_MEASUREMENT"))
  coils = sorted(set(heads["active_channels"][rows].tolist()))
  if len(coils) > 1:
    found = f"noise readouts of {' and '.join(map(str, coils))} coils"
    raise UserError(path, found, "one number of coils", "Remove one kind of them.")
  samples = [
    np.asarray(readout).view(np.complex64).reshape(coils[0], -1)
    for readout in data.fields("data")[rows]
  ]
  return np.concatenate(samples, axis=1) if samples else None


def _flagged(package, heads, name):
  """Which acquisitions have the flag IS_`name`."""
  number = getattr(package, f"ACQ_IS_{name}")
  return heads["flags"] & np.uint64(1 << number - 1) != 0


def _unsupported(encoding, heads, package):
  """What acquisitions have that is not read; "" without it."""
  trajectory = getattr(encoding.trajectory, "value", encoding.trajectory)
  found = "" if trajectory == "cartesian" else f"a trajectory {trajectory!r}"
  for counter, meaning in _ONE_ONLY.items():
    count = len(set(heads["idx"][counter].tolist()))
    if count > 1:
      found = f"{count} {meaning}"
  if _flagged(package, heads, "REVERSE").any():
    found = "readouts in reverse direction (echo-planar imaging)"
  for field in ("active_channels", "number_of_samples", "discard_pre", "discard_post"):
    values = sorted(set(heads[field].tolist()))
    if len(values) > 1:
      found = f"different values of {field}: {', '.join(map(str, values))}"
  return found


def _described(header) -> dict:
  """Matrix, scanner and sequence; nothing about the patient, the place or the date."""
  record, axes = {}, operator.attrgetter("x", "y", "z")
  for name in ("encodedSpace", "reconSpace"):
    space = getattr(header.encoding[0], name)
    record[name] = {
      "matrixSize": list(axes(space.matrixSize)),
      "fieldOfView_mm": list(axes(space.fieldOfView_mm)),
    }
  for name, fields in _RECORDED.items():
    values = {field: getattr(getattr(header, name), field, None) for field in fields}
    record[name] = {key: value for key, value in values.items() if value}
  return record
