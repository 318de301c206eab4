"""Folders of DICOM files, one volume per series."""

import collections
import dataclasses
import fnmatch
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import root_folder, safe_name, subject_of, wanted
from kdmri_jax.data.source import Scan, Source, no_single_file, only
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import walk
from kdmri_jax.io.dicom import DicomHeader, Frame, is_dicom, read_header, read_pixels

NOTE = (
  "The scanner has processed DICOM images (filtered, corrected, often interpolated), "
  "and only their magnitude is used: k-space is simulated from them."
)
_STRANGE = (
  "The content of {} of the files without an ending is not DICOM, and they were left "
  "out. A damaged image may be among them."
)
_OFF_THE_LINE = 0.01  # of the distance of slices
_UNEVEN = 0.05  # of the usual distance
_SAME_PLACE = 1e-3  # mm along the slice normal, and in direction cosines
_LEAVE_OUT = "Exclude the series by include or contrast"


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every series of MR images below the root; file names do not matter.

  Files belong together by their SeriesInstanceUID. Slices are sorted by their position
  along the slice normal (the cross product of the two directions in
  ImageOrientationPatient), or by InstanceNumber where the series states no positions.
  Rows and columns are as displayed. Multi-frame files are read like single ones.

  `config.contrast` is a number, SeriesNumber, or a glob on SeriesDescription,
  case-insensitive; "" takes all series. A subject is named by a code of the PatientID,
  a volume "SUBJECT_SERIESNUMBER", followed by a code of the series where two have the
  same number. The record contains no name, number or date of the patient, and no file
  name, which may contain them.

  With `config.repeats` a series has several images of each slice, as many of all, which
  are repeats in the order of InstanceNumber.

  Raises:
    UserError: no MR images, a damaged file, a series without magnitude, in colour, in
      tiles, in a compression that cannot be undone, of several sizes, directions or
      images at one place, or a file without PatientID.
  """
  root = root_folder(config)
  series, others, strange = {}, collections.Counter(), 0
  files = {os.path.realpath(path): path for path in reversed(walk.files(root))}
  for path in sorted(files.values()):  # each once, also where a link shows it again
    header = read_header(path)
    if header and header.series:
      series.setdefault(header.series, []).append(header)
    elif header:
      others[header.kind] += 1
    elif path.suffix.strip(".0123456789") == "":  # no .txt or .inf of an archive
      strange += 1
  if not series:
    listed = ", ".join(f"{count} of {kind}" for kind, count in others.items())
    found = f"no DICOM file of MR images in it or below (others: {listed or 'none'})"
    expected = "MR images as a scanner or an archive exports them"
    raise UserError(root, found, expected, "Name the folder that holds them as root.")
  for name, subject, headers in _named(config, _chosen(config, root, series.values())):
    if wanted(config, name):
      volume = _volume(root, name, subject, headers, config.repeats > 0)
      if strange:
        volume.record["note"] += f" {_STRANGE.format(strange)}"
      yield volume


def _chosen(config, root, series):
  asked = config.contrast.lower()

  def fits(first):
    if asked.isdecimal():
      return first.number == int(asked)
    return not asked or fnmatch.fnmatchcase(first.description.lower(), asked)

  chosen = [headers for headers in series if fits(headers[0])]
  if not chosen:
    there = sorted({f"{h[0].number} {h[0].description!r}" for h in series})
    found = f"{config.contrast!r}, which matches no series of {root}"
    expected = f"a number or a glob on the description of a series: {', '.join(there)}"
    raise ArgumentError("contrast", found, expected, "Leave it empty for all series.")
  return chosen


def _named(config, series):
  """(name, subject, headers) in the order of the names."""
  entries = []
  for headers in series:
    first = headers[0]
    if not first.patient and not config.subject_pattern:
      expected = "one in every file, because the data is divided by subject"
      remedy = "Or name their folders, such as subject_pattern='(sub[0-9]+)'."
      raise UserError(first.path, "no PatientID", expected, remedy)
    subject = subject_of(config, first.path, first.patient)
    entries.append((safe_name(f"{subject}_{first.number}"), subject, headers))
  count = collections.Counter(name for name, *_ in entries)
  for k, (name, subject, headers) in enumerate(entries):
    if count[name] > 1:
      code = hashlib.blake2b(headers[0].series.encode(), digest_size=4).hexdigest()
      entries[k] = (f"{name}_{code}", subject, headers)
  return sorted(entries, key=lambda entry: (entry[1], entry[2][0].number, entry[0]))


def _volume(
  root, name, subject, headers: Sequence[DicomHeader], repeated: bool
) -> Volume:
  first = headers[0]
  _refuse_unusable(headers, repeated)
  unsorted = [f for h in headers for f in h.frames]
  frames, keys, placed = _sorted_frames(unsorted, repeated)
  images = np.empty((len(frames), *first.shape), np.float32)
  place = {frame: k for k, frame in enumerate(frames)}
  for header in headers:
    stored = read_pixels(header.path)
    for frame in header.frames:
      images[place[frame]] = frame.slope * stored[frame.index] + frame.intercept
  if repeated:
    count = len(frames) // len(keys)
    images = images.reshape(len(keys), count, *first.shape).swapaxes(0, 1)
    frames = frames[::count]
  positions = keys if placed else None
  record = {
    "file": f"series {first.number} of {subject} in {root}",
    "file_shape": list(images.shape),
    "files": len(headers),
    "contrast": first.description,
    "series_number": first.number,
    "transfer_syntax": first.syntax,
    "attributes": first.attributes,
    "note": " ".join(filter(None, (NOTE, _gaps(keys, placed)))),
  }
  return Volume(name, subject, images, record=record | _geometry(frames, positions))


def _refuse_unusable(headers, repeated):
  first = headers[0]
  for header in headers:
    kinds = sorted({frame.component for frame in header.frames} - {"MAGNITUDE"})
    sizes = f"{header.shape} pixels, but {first.shape} in {first.path.name}"
    for problem, there in (
      (f"{' and '.join(kinds).lower()} images", kinds),
      (f"colours ({header.colours})", header.colours),
      ("a mosaic, all slices as tiles of one image", header.mosaic),
      (sizes, header.shape != first.shape),
      ("echoes in place of repeats", repeated and _echo(header) != _echo(first)),
    ):
      if there:
        found = f"{problem} in series {header.number} {header.description!r}"
        expected = "magnitude images of one size, grey, one slice each"
        remedy = f"{_LEAVE_OUT}, or export the magnitude images alone."
        raise UserError(header.path, found, expected, remedy)


def _echo(header: DicomHeader) -> str:
  return str(header.attributes.get("EchoTime"))


def _sorted_frames(frames: list[Frame], repeated: bool = False):
  """The frames from the first slice to the last, and what sorts them.

  Args:
    frames: the frames of a series.
    repeated: whether each slice has several frames, which then follow each other in the
      order of their numbers.

  Returns:
    The frames; the positions of the slices in mm, or their numbers; whether these are
    positions.
  """
  placed = all(frame.position and frame.orientation for frame in frames)
  if placed:
    keys = np.array([frame.position for frame in frames]) @ _normal(frames)
  else:
    for frame in frames:
      if frame.instance is None:
        _refuse_unsorted(frame, "neither a position nor an InstanceNumber")
    keys = np.array([frame.instance for frame in frames])
  order = np.argsort(keys, kind="stable")
  if repeated:
    return _repeats(frames, order, keys, placed)
  frames, keys = [frames[k] for k in order], keys[order]
  for earlier, later, step in zip(frames, frames[1:], np.diff(keys), strict=False):
    if step < _SAME_PLACE:
      what = "place" if placed else "InstanceNumber"
      copy = "Remove one of the two if it is a copy; set data.repeats for repeated "
      copy += "acquisitions of one scan. "
      same = earlier.path == later.path
      other = "another frame" if same else earlier.path.name
      _refuse_unsorted(later, f"the same {what} as in {other}", copy)
  return frames, keys, placed


def _repeats(frames, order, keys, placed):
  """As `_sorted_frames`, with the repeats of each slice, of which all have as many."""
  starts = np.flatnonzero(np.diff(keys[order]) >= _SAME_PLACE) + 1
  places = [
    sorted(p, key=lambda k: frames[k].instance or 0) for p in np.split(order, starts)
  ]
  for place in places:
    if len(place) != len(places[0]):
      found = f"{len(place)} images at one place, {len(places[0])} at another"
      expected = "as many repeats of each slice"
      remedy = f"{_LEAVE_OUT}, or add the missing files."
      raise UserError(frames[place[0]].path, found, expected, remedy)
  firsts = keys[[place[0] for place in places]]
  return [frames[k] for place in places for k in place], firsts, placed


def _normal(frames):
  directions = np.array([frame.orientation for frame in frames])
  apart = np.abs(directions - directions[0]).max(1)
  if apart.max() > _SAME_PLACE:
    other = frames[int(apart.argmax())]
    first = f"{list(frames[0].orientation)} in {frames[0].path.name}"
    found = f"the direction {list(other.orientation)}, but {first}"
    remedy = f"{_LEAVE_OUT} (a localizer is such a series)."
    raise UserError(other.path, found, "parallel slices in a series", remedy)
  return np.cross(directions[0, :3], directions[0, 3:])


def _refuse_unsorted(frame, found, remedy=""):
  remedy += "Export echoes, phases and directions as series of their own."
  expected = "one image per slice in a series"
  raise UserError(frame.path, found, expected, f"{remedy} {_LEAVE_OUT}.")


def _gaps(keys, placed) -> str:
  """A note on slices that are not equally spaced, or on numbers that are left out."""
  steps = np.diff(keys)
  usual = np.quantile(steps, 0.5, method="lower") if len(steps) else 1
  if not (np.abs(steps - usual) > _UNEVEN * usual).any():
    return ""
  first = int(np.argmax(np.abs(steps - usual)))
  between = f"slices {first} and {first + 1} (from 0)"
  if not placed:
    numbers = f"{keys[first]} and {keys[first + 1]}"
    return f"Slices may be missing: {between} have the InstanceNumbers {numbers}."
  return (
    f"Slices are not equally spaced, or some are missing: {usual:g} mm is usual, but "
    f"{steps[first]:g} mm lie between {between}. No slice distance and no matrix are "
    "recorded."
  )


def _geometry(frames, positions):
  """Entries of the record on axes and sizes, as far as the files contain them."""
  frame, geometry = frames[0], {}
  distance = frame.thickness
  axis = {"ROW": 1, "COL": 0, "COLUMN": 0}.get(frame.phase_encoding)
  if axis is not None:
    geometry["phase_encode_axis"] = axis
  if positions is not None:
    columns, rows = np.reshape(frame.orientation, (2, 3))
    towards = {"rows": rows, "columns": columns, "slices": np.cross(columns, rows)}
    geometry["axes_increase_towards"] = {k: _towards(v) for k, v in towards.items()}
    if len(frames) > 1:
      distance = round(float(np.median(np.diff(positions))), 6)
    if _gaps(positions, True):
      distance = None
  if frame.spacing and distance:
    geometry["zooms"] = [*frame.spacing, distance]
    if positions is not None:
      geometry |= _affine(frames, distance * towards["slices"], rows, columns)
  return geometry


def _affine(frames, step, rows, columns):
  """The matrix from (row, column, slice) to mm towards right, anterior and superior.

  Empty where slices are not equally spaced, because no matrix describes their
  positions. `step` leads from a slice to the next where there is one slice; `rows` and
  `columns` are the directions in which the indices increase.
  """
  corners = np.array([frame.position for frame in frames])
  if len(frames) > 1:
    step = (corners[-1] - corners[0]) / (len(frames) - 1)
  apart = np.abs(corners - corners[0] - np.arange(len(frames))[:, None] * step)
  if apart.max() > _OFF_THE_LINE * np.linalg.norm(step):
    return {}
  between_rows, between_columns = frames[0].spacing
  affine = np.eye(4)
  axes = (rows * between_rows, columns * between_columns, step, corners[0])
  affine[:3] = np.transpose(axes)
  affine[:2] *= -1
  return {"affine": affine.tolist()}


def _towards(direction) -> str:
  """The letter of the nearest anatomical direction; DICOM's axes point to L, P, S."""
  axis = int(np.argmax(np.abs(direction)))
  return ("LPS" if direction[axis] > 0 else "RAI")[axis]


def recognise(path: pathlib.Path) -> bool:
  """Whether a file is DICOM, or a folder holds such a file."""
  if path.is_dir():
    return any(map(is_dicom, filter(pathlib.Path.is_file, walk.files(path))))
  return is_dicom(path)


def read_folder(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads the series of a folder; files without PatientID are allowed."""
  config = dataclasses.replace(config, subject_pattern="[^/]+")
  return only(path, volumes(config), config)


SOURCE = Source(
  volumes,
  takes=("contrast", "repeats"),
  files="a folder of a DICOM series",
  recognise=recognise,
  read=no_single_file,
  read_folder=read_folder,
)
