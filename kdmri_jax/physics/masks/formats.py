"""Reads sampling masks of fastMRI, BART, MATLAB and NumPy."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import h5, walk
from kdmri_jax.io.cfl import read_cfl
from kdmri_jax.io.h5 import h5_array, opened
from kdmri_jax.io.mat import read_mat
from kdmri_jax.io.numpy_files import read_npy
from kdmri_jax.io.reading import refuse_missing
from kdmri_jax.physics.masks import describe, files


class _Stored(NamedTuple):
  """The content of a mask file.

  Attributes:
    values: [H, W], or a line [N].
    origin: description of the kind of file.
    centred: whether the format has zero frequency in the middle.
    axis: phase-encode axis of a line in this format.
    size: rows and columns, where the file holds them beside a line.
  """

  values: np.ndarray
  origin: str
  centred: bool = True
  axis: int | None = None
  size: tuple[int, int] | None = None


def read_mask(
  path: str | os.PathLike,
  *,
  centred: bool | None = None,
  size: tuple[int, int] | None = None,
  axis: int | None = None,
  key: str = "mask",
) -> tuple[np.ndarray, str]:
  """Reads a mask from a file of any of these formats.

  | file | holds | zero frequency |
  |---|---|---|
  | .npy | [H, W], such as KD-MRI's `mask_4x.npy`, or a line | [0, 0] |
  | .mat | variable `key`, as .npy | [0, 0] |
  | .h5 | dataset `key`, [H, W] or a line of columns, as fastMRI's | middle |
  | .cfl | a BART pattern of the dimensions 0 and 1, or 1 and 2 | middle |

  A line is repeated along the readout. The middle is N // 2. Dimensions of size 1 are
  ignored. A BART pattern with all three dimensions must be constant along the readout,
  dimension 0.

  Args:
    path: the file; for BART NAME, NAME.cfl or NAME.hdr.
    centred: whether zero frequency is in the middle; None for the table's.
    size: rows and columns; needed for a line, unless the file holds fastMRI's `kspace`.
    axis: phase-encode axis, 0 (rows) or 1 (columns); needed for a line in .npy or .mat.
    key: variable or dataset of .mat and .h5 files.

  Returns:
    The mask, uint8 [H, W], uncentred, and a sentence on the place of zero frequency.

  Raises:
    ArgumentError: `axis` or `size` is missing for a line, or contradicts the mask.
    UserError: the file is missing, damaged or of another format; it is no single mask
      of 0 and 1; zero frequency is not sampled; or the low frequencies are not sampled
      where `centred` says.

  Source: mri_data.py and subsample.py of fastMRI; poisson.c and pattern.c of BART.
  """
  if axis not in (None, 0, 1):
    raise ArgumentError("axis", str(axis), "0 (rows) or 1 (columns)")
  path = pathlib.Path(path)
  stored = _stored(path, key)
  if stored.values.ndim == 1:
    stored = stored._replace(values=_repeated(path, stored, size, axis))
  mask = files.binary(path, _real(stored.values))
  if size is not None and mask.shape != tuple(size):
    found = f"{tuple(size)}, but {mask.shape} in {path}"
    raise ArgumentError("size", found, "the mask's own size, or none")
  if axis is not None and not describe.is_cartesian(mask, axis):
    found = "a mask that varies along both axes"
    if (own := describe.phase_encode_axis(mask)) is not None:
      found = f"phase-encode axis {own}"
    raise ArgumentError("axis", f"{axis}, but {found} in {path}", "the mask's own axis")
  middle = stored.centred if centred is None else centred
  mask = np.fft.ifftshift(mask) if middle else mask
  remedy = f"Say where they are with --{'no' if middle else ''}centred."
  files.check_order(path, mask, remedy, moved=middle)
  return mask, _sentence(stored, middle, mask)


def read_masks(
  files: Sequence[str | os.PathLike], **settings: Any
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
  """Reads several masks; their names are the shortest ends of the paths that differ.

  Args:
    files: see `read_mask`, each once.
    settings: the arguments of `read_mask`, the same for all.

  Returns:
    Name -> mask; and sentence on the place of zero frequency -> names.

  Raises:
    UserError: a file is given twice, or as `read_mask`.
  """
  paths = [pathlib.Path(file) for file in files]
  masks: dict[str, np.ndarray] = {}
  notes: dict[str, list[str]] = {}
  for path, name in zip(paths, _names(paths), strict=True):
    masks[name], note = read_mask(path, **settings)
    notes.setdefault(note, []).append(name)
  return masks, notes


def _names(paths) -> list[str]:
  ends = [path.with_suffix("").parts for path in paths]
  if len(set(paths)) < len(paths):
    twice = next(path for path in paths if paths.count(path) > 1)
    raise UserError(twice, "the same file twice", "each file once")
  for length in range(1, max(map(len, ends)) + 1):
    names = ["/".join(end[-length:]) for end in ends]
    if len(set(names)) == len(names):
      return names
  return [str(path) for path in paths]


def _stored(path, key) -> _Stored:
  suffix = path.suffix.lower()
  if suffix in (".cfl", ".hdr") or walk.present(f"{path}.cfl").is_file():
    return _bart(path)
  expected = "a mask in a file .npy, .mat, .h5 or .cfl"
  refuse_missing(path)
  if not path.is_file():
    raise UserError(path, "no such file", expected)
  if suffix == ".npy":
    values = np.squeeze(read_npy(path))
    return _Stored(values, "a NumPy file", centred=False)
  if suffix == ".mat":
    return _Stored(_matlab(path, key), "a MATLAB file", centred=False)
  if suffix in h5.ENDINGS:
    return _fastmri(path, key)
  raise UserError(path, f"the ending {path.suffix!r}", expected, "Convert it to one.")


def _matlab(path, key):
  try:
    (values,) = read_mat(path, key)
  except UserError as error:
    if not error.found.startswith("no array"):
      raise
    remedy = "Name the variable of the mask as key."
    raise UserError(path, error.found, error.expected, remedy) from error
  return np.squeeze(values)


def _fastmri(path, key) -> _Stored:
  with opened(path) as file:
    if not isinstance(file.get(key), h5py.Dataset):
      keys = ", ".join(sorted(file)) or "none"
      found = f"no dataset {key!r} (the keys are: {keys})"
      remedy = "Name it as key; fastMRI's fully sampled files have no mask."
      raise UserError(path, found, f"a dataset {key!r}", remedy)
    values = np.squeeze(h5_array(file, key))
    shape: tuple[int, ...] = getattr(file.get("kspace"), "shape", ())
  size = (int(shape[-2]), int(shape[-1])) if len(shape) > 2 else None
  return _Stored(values, "an h5 file, as fastMRI's", axis=1, size=size)


def _bart(path) -> _Stored:
  array = read_cfl(path)
  others = [k for k in range(3, array.ndim) if array.shape[k] > 1]
  if others:
    k = others[0]
    found = f"{array.shape[k]} entries in dimension {k}"
    remedy = f"Select one with: bart slice {k} 0 NAME ONE"
    raise UserError(path, found, "one pattern, in the dimensions 0, 1 and 2", remedy)
  volume: Any = np.asarray(array).reshape(array.shape[:3])
  depth = volume.shape[-1]
  plane = volume[:, :, 0] if depth == 1 else volume[0]
  if depth > 1 and (volume != plane).any():
    found = "a pattern that varies along all of the dimensions 0, 1 and 2"
    expected = "one that is constant along the readout, dimension 0"
    remedy = "Select a plane with: bart slice 0 0 NAME PLANE"
    raise UserError(path, found, expected, remedy)
  if 1 in plane.shape:
    return _Stored(plane.ravel(), "a BART pattern", axis=int(plane.shape[0] == 1))
  return _Stored(plane, "a BART pattern")


def _repeated(path, stored, size, axis) -> np.ndarray:
  """The mask [H, W] of a line."""
  length = len(stored.values)
  known = stored.axis if stored.axis is not None else axis
  if known is None:
    found = f"none, for a line of {length} values in {path}"
    raise ArgumentError("axis", found, "0 (rows are sampled) or 1 (columns)")
  size = size or stored.size
  if size is None or size[known] != length:
    what = "columns" if known else "rows"
    found = f"{size or 'none'}, for a line of {length} {what} in {path}"
    raise ArgumentError("size", found, f"rows and columns, {length} {what} among them")
  line = stored.values[:, None] if known == 0 else stored.values
  return np.broadcast_to(line, size)


def _real(values: np.ndarray) -> np.ndarray:
  if values.dtype.kind == "c" and not values.imag.any():
    return values.real
  return values


def _sentence(stored: _Stored, middle: bool, mask: np.ndarray) -> str:
  place = "in the middle, from where it was moved to [0, 0]" if middle else "at [0, 0]"
  text = f"{stored.origin} with zero frequency {place}"
  if describe.is_centred(np.fft.fftshift(mask)):
    return text
  return f"{text}; the mask itself does not show whether that is right"
