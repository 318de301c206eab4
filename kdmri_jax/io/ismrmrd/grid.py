"""Readouts of a 2-D Cartesian MRD acquisition and their places in k-space."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import refuse_huge, refuse_memory

LINES, PARTITIONS = "phase-encode lines", "partitions"
_REMEDY = "Undersampled data cannot be a target; exclude the file."


@dataclasses.dataclass(frozen=True)
class Grid:
  """The k-space that the readouts fill.

  Attributes:
    first, count: counter of the first phase-encode line, and number of lines.
    used: the samples of a stored readout that belong to the image.
    shifts: cyclic shifts of lines and samples that bring zero frequency to N // 2.
    columns: samples once the readout is no longer oversampled.
    record: averages (lowest and highest number of measurements of a line), zooms (size
      of a pixel along rows and columns and of a slice, in mm), phase_encode_axis.
    notes: sentences for the record.
  """

  first: int
  count: int
  used: slice
  shifts: tuple[int, int]
  columns: int
  record: dict[str, Any]
  notes: list[str]


def grid(
  path: pathlib.Path, encoding: Any, heads: np.ndarray, *, partial: bool = False
) -> Grid:
  """The k-space of a file, by its header and the first readout.

  The scanner's matrix may be larger than the measured k-space; only measured lines
  count, by the encoding limits. Some converters write a centre next to the middle for
  odd sizes; a cyclic shift by one then only changes the phase of the image.

  Args:
    path: the file, for messages.
    encoding: the first `encoding` of the header.
    heads: acquisition headers of the image, all of one layout.
    partial: whether lines may be missing on one side of the centre (partial Fourier);
      the grid is then symmetric.

  Raises:
    UserError: the centre is not in the middle (partial Fourier, partial echo), a
      readout has other samples than the encoded matrix, that has no size, or a line
      lies outside.
  """
  encoded, recon = encoding.encodedSpace, encoding.reconSpace
  refuse_empty(path, encoded, recon)
  used, readout_shift = readout(path, heads[0], encoded.matrixSize.x)
  limits = encoding.encodingLimits.kspace_encoding_step_1
  first, count, phase_shift = phase(path, limits, encoded.matrixSize.y, partial)
  samples = used.stop - used.start
  numbers = len(np.unique(heads["idx"]["slice"]))
  slice_shape = (int(heads["active_channels"].max()), count, samples)
  refuse_huge(path, (numbers, *slice_shape), 8, compressed=True, at_once=False)
  refuse_memory(path, slice_shape, 8)
  kept = columns(samples, encoding)
  measured = np.stack([heads["idx"]["slice"], heads["idx"]["kspace_encode_step_1"]])
  times = np.unique(measured, axis=1, return_counts=True)[1]
  refuse_outside(path, first, count, np.unique(measured[1]))
  field = encoded.fieldOfView_mm
  zooms = field.y / count, field.x / samples, recon.fieldOfView_mm.z
  return Grid(
    first,
    count,
    used,
    shifts=(phase_shift, readout_shift),
    columns=kept,
    record={
      "averages": [int(times.min()), int(times.max())],
      "zooms": [float(size) for size in zooms],
      "phase_encode_axis": 0,
    },
    notes=_notes(count, kept, encoded.matrixSize.y, recon.matrixSize),
  )


def columns(samples: int, encoding: Any) -> int:
  """Samples of a readout once it is no longer oversampled."""
  fields = encoding.reconSpace.fieldOfView_mm, encoding.encodedSpace.fieldOfView_mm
  return round(samples * min(fields[0].x / fields[1].x, 1))


def lines(
  path: pathlib.Path, grid: Grid, heads: np.ndarray, *, partial: bool
) -> np.ndarray:
  """The measured lines, bool [slices, lines], in the order of `slices`.

  Args:
    path: the file, for messages.
    grid: their k-space.
    heads: acquisition headers of the image.
    partial: whether lines may be missing.

  Raises:
    UserError: a slice has missing lines.
  """
  numbers, places = np.unique(heads["idx"]["slice"], return_inverse=True)
  found = np.zeros((len(numbers), grid.count), bool)
  found[places, heads["idx"]["kspace_encode_step_1"].astype(int) - grid.first] = True
  if not partial and not found.all():
    k = found.all(axis=1).argmin()
    text = f"{found[k].sum()} phase-encode lines in slice {k}"
    raise UserError(path, text, _by_header(grid.first, grid.count), _REMEDY)
  return np.roll(found, grid.shifts[0], axis=1)


def slices(
  grid: Grid, data: h5py.Dataset, heads: np.ndarray, kept: np.ndarray
) -> Iterator[np.ndarray]:
  """Reads slices one by one, in the order of the slice counter.

  Args:
    grid: its k-space.
    data: the dataset of all acquisitions.
    heads: the headers of all acquisitions.
    kept: increasing indices of the acquisitions of the image.

  Yields:
    Centred k-space [coils, lines, columns], complex64, averaged and without readout
    oversampling; lines that were not measured are 0.
  """
  number, step = heads["idx"]["slice"], heads["idx"]["kspace_encode_step_1"]
  for k in np.unique(number[kept]):
    own = kept[number[kept] == k]
    places = step[own].astype(int) - grid.first
    coils = int(heads["active_channels"][own[0]])
    stored = np.stack(data.fields("data")[own]).view(np.complex64)
    stored = stored.reshape(len(own), coils, -1)[..., grid.used]
    kspace = np.zeros((grid.count, *stored.shape[1:]), np.complex64)
    np.add.at(kspace, places, stored)
    times = np.bincount(places, minlength=grid.count)
    kspace /= np.maximum(times, 1)[:, None, None]
    kspace = np.roll(np.moveaxis(kspace, 0, 1), grid.shifts, axis=(1, 2))
    yield without_oversampling(kspace, grid.columns)


def without_oversampling(kspace: np.ndarray, columns: int) -> np.ndarray:
  """K-space of the central columns of the image.

  Args:
    kspace: [..., samples], zero frequency at samples // 2.
    columns: number of columns to keep, around the pixel samples // 2.

  Returns:
    [..., columns], zero frequency at columns // 2; the image keeps its values.
  """
  if columns == kspace.shape[-1]:
    return kspace
  image = np.fft.ifftshift(image_columns(kspace, columns), axes=-1)
  return np.fft.fftshift(np.fft.fft(image, norm="ortho"), axes=-1)


def image_columns(kspace: np.ndarray, columns: int) -> np.ndarray:
  """The central columns of the image of centred k-space [..., samples]."""
  start = kspace.shape[-1] // 2 - columns // 2
  image = np.fft.ifft(np.fft.ifftshift(kspace, axes=-1), norm="ortho")
  return np.fft.fftshift(image, axes=-1)[..., start : start + columns]


def refuse_empty(path: pathlib.Path, encoded: Any, recon: Any) -> None:
  """Refuses a header without sizes."""
  sizes = {
    "encoded matrix": encoded.matrixSize,
    "encoded field of view": encoded.fieldOfView_mm,
    "reconstructed field of view": recon.fieldOfView_mm,
  }
  for what, size in sizes.items():
    if min(size.x, size.y) <= 0:
      found = f"the {what} {size.x} x {size.y} in the header"
      expected = "sizes larger than 0, which give the readout oversampling"
      raise UserError(path, found, expected, "Correct the header, or exclude the file.")


def readout(path: pathlib.Path, head: np.ndarray, expected: int) -> tuple[slice, int]:
  """The samples used of a readout, and the shift of its centre to the middle."""
  start = int(head["discard_pre"])
  used = slice(start, int(head["number_of_samples"]) - int(head["discard_post"]))
  samples = used.stop - start
  # Many converters leave center_sample at 0.
  centre = int(head["center_sample"]) - start if head["center_sample"] else samples // 2
  shift = samples // 2 - centre
  if samples != expected or abs(shift) > 1:
    found = f"{samples} samples per readout, the centre at {centre} (partial echo)"
    needed = f"{expected} samples as in the encoded matrix, centre {expected // 2}"
    raise UserError(path, found, needed, _REMEDY)
  return used, shift


def phase(
  path: pathlib.Path, limits: Any, whole: int, partial: bool, what: str = LINES
) -> tuple[int, int, int]:
  """First line, number of lines, and the shift of their centre to the middle."""
  first, last, centre = 0, whole - 1, whole // 2
  if limits is not None:
    first, last, centre = limits.minimum, limits.maximum, limits.center
  count = last - first + 1
  shift = count // 2 - (centre - first)
  if partial and abs(shift) > 1 and first <= centre <= last:
    half = max(centre - first, last - centre + 1)
    if 2 * half <= whole:
      return centre - half, 2 * half, 0
  if count < 1 or abs(shift) > 1:
    found = f"{count} {what}, the centre at {centre} (partial Fourier)"
    expected = (
      f"the encoded matrix's {whole} {what.split()[-1]}, or centre {first + count // 2}"
    )
    raise UserError(path, found, expected, _REMEDY)
  return first, count, shift


def refuse_outside(
  path: pathlib.Path, first: int, count: int, found: np.ndarray, what: str = LINES
) -> None:
  """Refuses counters of lines that the header does not know."""
  outside = found[(found < first) | (found >= first + count)]
  if outside.size:
    text = f"{len(found)} {what}, of which {outside[0]} lies outside"
    remedy = "Correct the header, or exclude the file."
    raise UserError(path, text, _by_header(first, count), remedy)


def _by_header(first, count):
  return f"{count}, from {first} to {first + count - 1} by the header"


def _notes(count, columns, whole, recon):
  notes = []
  if count < whole:
    notes.append(
      f"{count} of the {whole} lines of the encoded matrix were measured; the others "
      "are omitted, not filled with zeros."
    )
  if recon.x > columns or recon.y > count:
    notes.append(
      f"The scanner enlarges these images to {recon.x} x {recon.y} (readout x phase "
      "encoding); here they keep the measured resolution."
    )
  return notes
