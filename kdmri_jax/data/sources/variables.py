"""Files whose arrays have names and axes of their own: .mat, h5, .npz and .npy."""

import pathlib
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import folders
from kdmri_jax.data.source import FILE, Scan, Source, note_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import layout
from kdmri_jax.io.reading import split_name
from kdmri_jax.io.variables import ENDINGS, read_variable

_REPEATS = "repeats"
_FIRST = ("slices", "rows", "columns")
_LAST = ("rows", "columns", "slices")  # as MATLAB's users store them


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every .mat, .h5, .npz and .npy below the root, in the order of their paths.

  `config.variable` names the array of each file, and `config.axes` its axes. The
  folders `train`, `validation` and `test` are the split as for NIfTI. Each file is a
  volume, named after its path, and counts as a subject of the same name, unless
  `config.subject_pattern` finds another.

  Raises:
    ArgumentError: `axes` are not those of images.
    UserError: no file, a damaged one, one without the array, or one whose array has
      another number of axes.
  """
  holding = "files with an array of images"
  for path, name, subject, split in folders.divided_files(config, ENDINGS, holding):
    yield _volume(config, path, name, subject, split)


def _volume(config, path, name, subject, split=None) -> Volume:
  axes = config.axes or _default(config, path)
  _check(axes, config)
  array, key = read_variable(path, config.variable)
  what = repr(key) if key else "an array"
  shape = array.shape
  if path.suffix.lower() == ".mat":  # MATLAB drops axes of one entry at the end
    array = array.reshape(shape + (1,) * (len(axes) - len(shape)))
  if array.ndim != len(axes):
    found = f"{what} of shape {shape}"
    remedy = "Name the axes in the order of the array."
    raise UserError(path, found, f"as many axes as {', '.join(axes)}", remedy)
  whole = (_REPEATS, *_FIRST) if config.repeats else _FIRST
  missing = tuple(k for k, axis in enumerate(whole) if axis not in axes)
  array = array.transpose([axes.index(axis) for axis in whole if axis in axes])
  array = np.expand_dims(array, missing)
  if not config.axes:
    layout.refuse_pairs(path, what, array)
    layout.refuse_transposed(path, what, array.shape)
  record = {"file": str(path), "file_shape": list(shape), "note": note_of(config)}
  record |= {"variable": key, "axes": list(axes)}
  return Volume(name, subject, array, split=split, record=record)


def _default(config, path) -> tuple[str, ...]:
  axes = _LAST if path.suffix.lower() == ".mat" else _FIRST
  if not config.repeats:
    return axes
  return (*axes, _REPEATS) if axes is _LAST else (_REPEATS, *axes)


def _check(axes: tuple[str, ...], config: DataConfig) -> None:
  allowed = (_REPEATS, *_FIRST)
  needed = {"rows", "columns", *([_REPEATS] if config.repeats else [])}
  repeated = len(set(axes)) < len(axes) or (_REPEATS in axes) != (config.repeats > 0)
  if repeated or not needed <= set(axes) <= set(allowed):
    expected = "rows and columns, and slices and repeats where the array has them"
    remedy = "Name each axis once, in the order of the array: rows,columns,slices."
    raise ArgumentError("axes", f"{', '.join(axes)}", expected, remedy)


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads the images of one file for reconstruction, as `volumes` does."""
  name = split_name(path)[0]
  return _volume(config, path, folders.safe_name(name), name)


SOURCE = Source(
  volumes,
  takes=("variable", "axes", "repeats"),
  unit=FILE,
  files="MATLAB (.mat; name the source arrays)",
  read=read,
)
