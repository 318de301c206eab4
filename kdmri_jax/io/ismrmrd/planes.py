"""Readouts of a 3-D Cartesian MRD acquisition, as planes of both phase encodings.

The readout is transformed to the image. Each pixel along it is a slice, whose k-space
has the two phase encodings as rows and columns.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io.ismrmrd import grid as grids
from kdmri_jax.io.reading import refuse_huge

_AT_ONCE, _PLANES = 1024, 16  # readouts that are written, and slices that are read
_COUNTERS = "kspace_encode_step_1", "kspace_encode_step_2"


@dataclasses.dataclass(frozen=True)
class Planes:
  """The k-space that the readouts fill.

  Attributes:
    first: lowest counter of each phase encoding.
    shape: slices, coils, rows and columns.
    used: the samples of a stored readout that belong to the image.
    shifts: cyclic shifts of rows, columns and samples that bring zero frequency to
      N // 2.
    sampled: the measured points of every slice, bool [rows, columns].
    record: see `grid.Grid`; both axes of a slice are phase encodings.
    notes: sentences for the record.
  """

  first: tuple[int, int]
  shape: tuple[int, int, int, int]
  used: slice
  shifts: tuple[int, int, int]
  sampled: np.ndarray
  record: dict[str, Any]
  notes: list[str]


def planes(
  path: pathlib.Path, encoding: Any, heads: np.ndarray, *, partial: bool
) -> Planes:
  """The k-space of a file, by its header and the counters of its readouts.

  Args:
    path: the file, for messages.
    encoding: the first `encoding` of the header.
    heads: acquisition headers of the image, all of one layout.
    partial: see `grid.grid`, for both phase encodings.

  Raises:
    UserError: see `grid.grid`; or several slabs.
  """
  slabs = len(np.unique(heads["idx"]["slice"]))
  if slabs > 1:
    remedy = "Write each slab as a file of its own."
    raise UserError(path, f"{slabs} slabs of a 3-D acquisition", "one", remedy)
  encoded, recon = encoding.encodedSpace, encoding.reconSpace
  grids.refuse_empty(path, encoded, recon)
  used, readout_shift = grids.readout(path, heads[0], encoded.matrixSize.x)
  whole = encoded.matrixSize.y, encoded.matrixSize.z
  limits = encoding.encodingLimits
  limits = limits.kspace_encoding_step_1, limits.kspace_encoding_step_2
  words = grids.LINES, grids.PARTITIONS
  found = [
    grids.phase(path, limit, count, partial, what)
    for limit, count, what in zip(limits, whole, words, strict=True)
  ]
  first, counts, shifts = zip(*found, strict=True)
  places = [heads["idx"][name].astype(int) for name in _COUNTERS]
  for own, start, count, what in zip(places, first, counts, words, strict=True):
    grids.refuse_outside(path, start, count, np.unique(own), what)
  samples = used.stop - used.start
  coils = int(heads["active_channels"].max())
  columns = grids.columns(samples, encoding)
  refuse_huge(path, (samples, coils, *counts), 8, compressed=True, at_once=False)
  times = np.zeros(counts, int)
  at = [own - start for own, start in zip(places, first, strict=True)]
  np.add.at(times, tuple(at), 1)
  field = encoded.fieldOfView_mm
  zooms = field.y / counts[0], field.z / counts[1], field.x / samples
  measured = times[times > 0]
  return Planes(
    first,
    (columns, coils, *counts),
    used,
    (*shifts, readout_shift),
    np.roll(times > 0, shifts, axis=(0, 1)),
    {
      "averages": [int(measured.min()), int(measured.max())],
      "zooms": [float(size) for size in zooms],
    },
    ["Slices lie along the readout of a 3-D acquisition, which was transformed."],
  )


def slices(
  own: Planes, data: h5py.Dataset, heads: np.ndarray, kept: np.ndarray
) -> Iterator[np.ndarray]:
  """All slices, which are put together in a temporary file first.

  Args:
    own: their k-space.
    data: the dataset of all acquisitions.
    heads: the headers of all acquisitions.
    kept: increasing indices of the acquisitions of the image.

  Yields:
    Centred k-space [coils, rows, columns], complex64, averaged; points that were not
    measured are 0.
  """
  columns, coils, *counts = own.shape
  numbers = [heads["idx"][name].astype(int) for name in _COUNTERS]
  with tempfile.TemporaryFile() as file:
    file.truncate(8 * int(np.prod(own.shape)))
    # Written line by line, read slice by slice.
    hybrid = np.memmap(file, np.complex64, "r+", shape=(*counts, coils, columns))
    times = np.zeros(counts, np.float32)
    for start in range(0, len(kept), _AT_ONCE):
      rows = kept[start : start + _AT_ONCE]
      stored = np.stack(data.fields("data")[rows]).view(np.complex64)
      stored = stored.reshape(len(rows), coils, -1)[..., own.used]
      image = grids.image_columns(np.roll(stored, own.shifts[2], axis=-1), columns)
      at = [each[rows] - first for each, first in zip(numbers, own.first, strict=True)]
      for row, column, each in zip(*at, image, strict=True):
        hybrid[row, column] += each
        times[row, column] += 1
    scale = np.roll(1 / np.maximum(times, 1), own.shifts[:2], axis=(0, 1))
    for start in range(0, columns, _PLANES):
      some = np.moveaxis(np.array(hybrid[..., start : start + _PLANES]), (3, 2), (0, 1))
      yield from np.roll(some, own.shifts[:2], axis=(2, 3)) * scale
