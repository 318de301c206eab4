"""Files whose arrays have names and axes of their own: .mat, h5, .npz and .npy."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import coil_noise, folders
from kdmri_jax.data.measured import RawScan
from kdmri_jax.data.sensitivities import Sensitivities
from kdmri_jax.data.source import FILE, Scan, Source, note_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import layout, walk
from kdmri_jax.io.reading import split_name
from kdmri_jax.io.variables import ENDINGS, read_variable
from kdmri_jax.physics.coils import combination

_REPEATS, _COILS, _KSPACE = "repeats", "coils", "kspace"
_FIRST = ("slices", "rows", "columns")
_SENSITIVITIES = "_sens"


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every .mat, .h5, .npz and .npy below the root, in the order of their paths.

  `config.variable` names the array of each file, and `config.axes` its axes. The
  folders `train`, `validation` and `test` are the split as for NIfTI. Each file is a
  volume, named after its path, and counts as a subject of the same name, unless
  `config.subject_pattern` finds another.

  With `config.contrast="kspace"` the arrays are fully sampled k-space, of one coil or
  of those along the axis "coils"; it has its zero frequency, and an image its origin,
  at N // 2. Coils are combined as `config.combine` says, by default to their root sum
  of squares. The sensitivities of NAME.mat are the only array of NAME_sens.mat, with
  the same axes; likewise of other endings.

  Raises:
    ArgumentError: `axes` are not those of such arrays, or another `contrast`.
    UserError: no file, a damaged one, one without the array, or one whose array has
      another number of axes; k-space that is undersampled or not centred.
  """
  content = folders.choose(config, "image", ["image", _KSPACE], config.root)
  holding = "files with an array of images"
  for path, name, subject, split in folders.divided_files(config, ENDINGS, holding):
    if content == "image":
      yield _volume(config, path, name, subject, split)
    elif not _belongs_to_another(path):
      yield _combined(config, _scan(config, path), name, subject, split)


def _belongs_to_another(path) -> bool:
  """Whether a file has the sensitivities or the noise of a scan beside it."""
  stem = split_name(path)[0]
  if stem.endswith(_SENSITIVITIES):
    return True
  scan = stem.removesuffix(coil_noise.SUFFIX)
  others = (path.with_name(scan + ending) for ending in ENDINGS)
  return path.suffix == ".npy" and scan != stem and any(map(os.path.lexists, others))


def _volume(config, path, name, subject, split=None) -> Volume:
  array, record = _read(config, path, config.variable)
  if not config.axes:
    what = repr(record["variable"]) if record["variable"] else "an array"
    layout.refuse_pairs(path, what, array)
    layout.refuse_transposed(path, what, array.shape)
  record |= {"file": str(path), "note": note_of(config)}
  return Volume(name, subject, array, split=split, record=record)


def _scan(config, path) -> RawScan:
  """The k-space of a file."""
  array, details = _read(config, path, config.variable)
  if array.dtype.kind != "c" or array.shape[1] > min(array.shape[2:]):
    found = f"{array.dtype} numbers (slices, coils, rows, columns) of {array.shape}"
    expected = "complex k-space of fewer coils than rows and columns"
    remedy = "Name the array as variable, and its axes in their order."
    raise UserError(path, found, expected, remedy)
  _refuse_uncentred(path, array)
  stem, ending = split_name(path)
  file = walk.present(path.with_name(f"{stem}{_SENSITIVITIES}{ending}"))
  maps = Sensitivities(
    [file],
    lambda: _read(config, file, "")[0],
    "Estimate them (ESPIRiT, for instance) and save them with the axes of the k-space",
  )
  read_slice = lambda k: array[k].astype(np.complex64)  # noqa: E731
  record = {"file": str(path)}
  notes = [note_of(config)]
  return RawScan(
    path, len(array), read_slice, record, details, sensitivities=maps, notes=notes
  )


def _combined(config, scan, name, subject, split=None) -> Volume:
  way = combination.chosen(config.combine, "rss", "sense", "none")
  way = way or ("rss" if len(scan.read(0)) > 1 else "")
  return scan.volume(name, subject, way, split, config.sensitivities)


def _read(config, path, variable) -> tuple[np.ndarray, dict[str, Any]]:
  """An array [S, H, W], [R, S, H, W] or, of k-space, [S, C, H, W], and its record."""
  order = _order(config)
  axes = config.axes or _default(order, path)
  _check(axes, config)
  array, key = read_variable(path, variable)
  shape = array.shape
  if path.suffix.lower() == ".mat":  # MATLAB drops axes of one entry at the end
    array = array.reshape(shape + (1,) * (len(axes) - len(shape)))
  if array.ndim != len(axes):
    found = f"{repr(key) if key else 'an array'} of shape {shape}"
    remedy = "Name the axes in the order of the array."
    raise UserError(path, found, f"as many axes as {', '.join(axes)}", remedy)
  missing = tuple(k for k, axis in enumerate(order) if axis not in axes)
  array = array.transpose([axes.index(axis) for axis in order if axis in axes])
  record = {"file_shape": list(shape), "variable": key, "axes": list(axes)}
  return np.expand_dims(array, missing), record


def _order(config) -> tuple[str, ...]:
  """All axes, in the order in which they are read."""
  if config.contrast == _KSPACE:
    return "slices", _COILS, "rows", "columns"
  return (_REPEATS, *_FIRST) if config.repeats else _FIRST


def _default(order, path) -> tuple[str, ...]:
  if path.suffix.lower() != ".mat":
    return order
  last = ("rows", "columns", _COILS, "slices", _REPEATS)  # as MATLAB's users store them
  return tuple(axis for axis in last if axis in order)


def _check(axes: tuple[str, ...], config: DataConfig) -> None:
  of_kspace = config.contrast == _KSPACE
  for key in ("combine",) if not of_kspace else ("repeats",):
    if value := getattr(config, key):
      found = f"{value!r}, of {'k-space' if of_kspace else 'images'}"
      raise ArgumentError(key, found, f"{type(value)()!r}, which has no effect then")
  needed = {"rows", "columns", *([_REPEATS] if config.repeats else [])}
  if len(set(axes)) == len(axes) and needed <= set(axes) <= set(_order(config)):
    return
  other = _COILS if of_kspace else _REPEATS
  expected = f"rows and columns, and slices and {other} where the array has them"
  remedy = "Name each axis once, in the order of the array: rows,columns,slices."
  if _COILS in axes and not of_kspace:
    remedy = "For k-space of coils set contrast='kspace'."
  raise ArgumentError("axes", f"{', '.join(axes)}", expected, remedy)


def _refuse_uncentred(path, kspace) -> None:
  """Refuses k-space [S, C, H, W] that has more energy at its corners than inside."""
  energy = sum((np.abs(row) ** 2).sum(0) for row in kspace)
  height, width = energy.shape
  inside = (slice(height // 4, -(height // 4)), slice(width // 4, -(width // 4)))
  if np.fft.fftshift(energy)[inside].sum() > energy[inside].sum():
    found = "k-space with its zero frequency at the corner"
    remedy = "Store it as fftshift(fft2(ifftshift(image)))."
    raise UserError(path, found, "k-space with its zero frequency at N // 2", remedy)


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads one file for reconstruction: images or k-space, which may be undersampled.

  Points that are exactly zero in all coils were not sampled; the middle slice shows
  whether these are more than a border.

  Args:
    path: the file.
    config: its `contrast`, `variable` and `axes` are as for `volumes`.

  Raises:
    ArgumentError, UserError: as `volumes`, `RawScan.volume` and `RawScan.measured`.
  """
  stem = split_name(path)[0]
  name = folders.safe_name(stem)
  if folders.choose(config, "image", ["image", _KSPACE], path) == "image":
    return _volume(config, path, name, stem)
  scan = _scan(config, path)
  return (
    scan.measured(config) if scan.has_gaps() else _combined(config, scan, name, stem)
  )


SOURCE = Source(
  volumes,
  takes=("contrast", "combine", "variable", "axes", "repeats"),
  unit=FILE,
  files="MATLAB (.mat; name the source arrays)",
  read=read,
)
