"""Folders of DICOM files, one volume per series."""

import collections
import dataclasses
import fnmatch
import hashlib
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import root_folder, safe_name, subject_of, wanted
from kdmri_jax.data.source import Scan, Source, no_single_file, only
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.dicom import DicomHeader, Frame, is_dicom, read_header, read_pixels

NOTE = (
  "The scanner has processed DICOM images (filtered, corrected, often interpolated), "
  "and only their magnitude is used: k-space is simulated from them."
)
_UNEVEN = 0.01  # of the distance of slices
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

  Raises:
    UserError: no MR images, a damaged file, a series without magnitude, in colour, in
      tiles, in a compression that cannot be undone, of several sizes, directions or
      images at one place, or a file without PatientID.
  """
  root = root_folder(config)
  series, others = {}, collections.Counter()
  for path in sorted(path for path in root.rglob("*") if path.is_file()):
    header = None if path.name.startswith(".") else read_header(path)
    if header and header.series:
      series.setdefault(header.series, []).append(header)
    elif header:
      others[header.kind] += 1
  if not series:
    listed = ", ".join(f"{count} of {kind}" for kind, count in others.items())
    found = f"no DICOM file of MR images in it or below (others: {listed or 'none'})"
    expected = "MR images as a scanner or an archive exports them"
    raise UserError(root, found, expected, "Name the folder that holds them as root.")
  for name, subject, headers in _named(config, _chosen(config, root, series.values())):
    if wanted(config, name):
      yield _volume(root, name, subject, headers)


def _chosen(config, root, series):
  glob = config.contrast
  if not glob:
    return list(series)
  if glob.isdecimal():
    chosen = [headers for headers in series if headers[0].number == int(glob)]
  else:
    chosen = [
      headers
      for headers in series
      if fnmatch.fnmatchcase(headers[0].description.lower(), glob.lower())
    ]
  if not chosen:
    there = sorted({f"{h[0].number} {h[0].description!r}" for h in series})
    found = f"{glob!r}, which matches no series of {root}"
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
  code = lambda uid: hashlib.blake2b(uid.encode(), digest_size=4).hexdigest()  # noqa: E731
  named = [
    (f"{name}_{code(headers[0].series)}" if count[name] > 1 else name, subject, headers)
    for name, subject, headers in entries
  ]
  return sorted(named, key=lambda entry: (entry[1], entry[2][0].number, entry[0]))


def _volume(root, name, subject, headers: Sequence[DicomHeader]) -> Volume:
  first = headers[0]
  _refuse_unusable(headers)
  frames, positions = _sorted_frames([frame for h in headers for frame in h.frames])
  images = np.empty((len(frames), *first.shape), np.float32)
  places = collections.defaultdict(list)
  for k, frame in enumerate(frames):
    places[frame.path].append(k)
  for path, own in places.items():
    stored = read_pixels(path)
    for k in own:
      images[k] = frames[k].slope * stored[frames[k].index] + frames[k].intercept
  record = {
    "file": f"series {first.number} of {subject} in {root}",
    "file_shape": list(images.shape),
    "files": len(headers),
    "contrast": first.description,
    "series_number": first.number,
    "transfer_syntax": first.syntax,
    "attributes": first.attributes,
    "note": NOTE,
  }
  record |= _geometry(frames, positions)
  return Volume(name, subject, images, record=record)


def _refuse_unusable(headers):
  first = headers[0]
  expected = "magnitude images of one size, grey, one slice each"
  for header in headers:
    components = {frame.component for frame in header.frames} - {"MAGNITUDE"}
    found = ""
    if components:
      found = f"{' and '.join(sorted(components)).lower()} images"
    elif header.colours:
      found = f"colours ({header.colours})"
    elif header.mosaic:
      found = "a mosaic, all slices as tiles of one image"
    elif header.shape != first.shape:
      found = f"{header.shape} pixels, but {first.shape} in {first.path.name}"
    if found:
      found += f" in series {header.number} {header.description!r}"
      remedy = f"{_LEAVE_OUT}, or export the magnitude images alone."
      raise UserError(header.path, found, expected, remedy)


def _sorted_frames(frames: list[Frame]):
  """The frames from the first slice to the last, and their positions in mm or None."""
  if any(frame.position is None or frame.orientation is None for frame in frames):
    for frame in frames:
      if frame.instance is None:
        _refuse_unsorted(frame, "neither a position nor an InstanceNumber")
    order = np.argsort([frame.instance for frame in frames], kind="stable")
    positions, keys = None, np.array([frames[k].instance for k in order])
  else:
    positions = np.array([frame.position for frame in frames]) @ _normal(frames)
    order = np.argsort(positions, kind="stable")
    positions = keys = positions[order]
  frames = [frames[k] for k in order]
  for earlier, later, step in zip(frames, frames[1:], np.diff(keys), strict=False):
    if step < _SAME_PLACE:
      what = "InstanceNumber" if positions is None else "place"
      _refuse_unsorted(later, f"the same {what} as in {earlier.path.name}")
  return frames, positions


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


def _refuse_unsorted(frame, found):
  remedy = "Export echoes, phases and directions as series of their own."
  expected = "one image per slice in a series"
  raise UserError(frame.path, found, expected, f"{remedy} {_LEAVE_OUT}.")


def _geometry(frames, positions):
  """Entries of the record on axes and sizes, as far as the files contain them."""
  frame, geometry = frames[0], {}
  distance = frame.thickness
  if positions is not None:
    row_index, column_index = frame.orientation[3:], frame.orientation[:3]
    towards = {"rows": row_index, "columns": column_index}
    towards["slices"] = np.cross(column_index, row_index)
    geometry["axes_increase_towards"] = {k: _towards(v) for k, v in towards.items()}
    if len(frames) > 1:
      distance = round(float(np.median(np.diff(positions))), 6)
  if frame.spacing and distance:
    geometry["zooms"] = [*frame.spacing, distance]
    if positions is not None:
      geometry |= _affine(frames, distance)
  axis = {"ROW": 1, "COL": 0, "COLUMN": 0}.get(frame.phase_encoding)
  return geometry if axis is None else geometry | {"phase_encode_axis": axis}


def _affine(frames, distance):
  """The matrix from (row, column, slice) to mm towards right, anterior and superior.

  Empty where slices are not equally spaced, because no matrix describes their
  positions.
  """
  first, count = frames[0], len(frames)
  corners = np.array([frame.position for frame in frames])
  column_index, row_index = np.reshape(first.orientation, (2, 3))
  step = distance * np.cross(column_index, row_index)
  if count > 1:
    step = (corners[-1] - corners[0]) / (count - 1)
  apart = np.abs(corners - corners[0] - np.arange(count)[:, None] * step)
  if apart.max() > _UNEVEN * np.linalg.norm(step):
    return {}
  affine = np.eye(4)
  affine[:3, 0] = row_index * first.spacing[0]
  affine[:3, 1] = column_index * first.spacing[1]
  affine[:3, 2], affine[:3, 3] = step, corners[0]
  affine[:2] *= -1
  return {"affine": affine.tolist()}


def _towards(direction) -> str:
  """The letter of the nearest anatomical direction; DICOM's axes point to L, P, S."""
  axis = int(np.argmax(np.abs(direction)))
  return ("LPS" if direction[axis] > 0 else "RAI")[axis]


def recognise(path: pathlib.Path) -> bool:
  """Whether a file is DICOM, or a folder holds such a file."""
  if path.is_dir():
    return any(map(recognise, filter(pathlib.Path.is_file, sorted(path.rglob("*")))))
  return is_dicom(path)


def read_folder(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads the series of a folder; files without PatientID are allowed."""
  config = dataclasses.replace(config, subject_pattern="[^/]+")
  return only(path, volumes(config), config)


SOURCE = Source(
  volumes,
  takes=("contrast",),
  files="a folder of a DICOM series",
  recognise=recognise,
  read=no_single_file,
  read_folder=read_folder,
)
