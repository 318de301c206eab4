"""fastMRI: raw k-space of knees and brains (Knoll et al. 2020, Zbontar et al. 2018)."""

import contextlib
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import choose, files_of_parts, root_folder, subject_of
from kdmri_jax.data.measured import RawScan
from kdmri_jax.data.source import FILE, SUBJECT, Scan, Source, holds
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io import layout, walk
from kdmri_jax.io.h5 import h5_array, h5_dataset, opened, read_header
from kdmri_jax.physics.coils import combination
from kdmri_jax.physics.masks.values import other_values

CITATION = (
  "fastMRI (Zbontar et al., arXiv 1811.08839; Knoll et al., Radiology: Artificial "
  "Intelligence 2020), under its data use agreement."
)
EMULATED = "The single coil was emulated from several by the authors of the data."
_TRACKS = (
  {"singlecoil_train": "train", "singlecoil_val": "validation"},
  {"multicoil_train": "train", "multicoil_val": "validation"},
)
_LAYOUT = (
  "fastMRI's folders singlecoil_train and singlecoil_val, or multicoil_train and "
  "multicoil_val; those of the test and challenge sets are undersampled and hold no "
  "target"
)
_ATTRIBUTES = ("acquisition", "max", "norm")


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the h5 files of ROOT/{singlecoil,multicoil}_{train,val}, or of ROOT itself.

  A file holds `kspace`, complex, centred, (slices, rows, columns) of a single coil or
  (slices, coils, rows, columns); masks run along the columns. The target of a single
  coil is its complex image, with `config.combine="rss"` the image's magnitude; of
  several coils it is their root sum of squares, with "none" their combination by
  sensitivities, beside their k-space. It has the full field of view of the
  k-space: `config.crop` gives the stored `reconstruction_esc` or `reconstruction_rss`,
  which are not read.

  Where there are both a train and a val folder, they are the split. The subject is the
  attribute `patient_id`, or the file where that is absent. `config.contrast` takes the
  files of one `acquisition`, such as "CORPD_FBK". The record contains the acquisition,
  two norms and sizes from attributes and header, but not the patient, the place or the
  date. `Volume.header` contains everything.

  Raises:
    UserError: no file, folders of both tracks, an unknown acquisition, or a file that
      is damaged, undersampled or of another layout.
  """
  root = root_folder(config)
  acquisitions = set()
  for path, split in files_of_parts(config, _parts(root), _LAYOUT):
    acquisition = _acquisition(path)
    acquisitions.add(acquisition)
    if config.contrast not in ("", acquisition):
      continue
    with _opened(path) as scan:
      if scan.sampled is not None:
        found = "a sampling mask: undersampled k-space of a test or challenge set"
        expected = "fully sampled k-space, from which the target is made"
        remedy = "Use the training and validation files."
        raise UserError(path, found, expected, remedy)
      volume = _volume(config, scan, split)
    yield volume
  if acquisitions:
    choose(config, "", sorted(acquisitions), root)


def _acquisition(path: pathlib.Path) -> str:
  with opened(path) as file:
    return str(read_header(file, path).attributes.get("acquisition"))


def _parts(root: pathlib.Path) -> dict[str, str]:
  """The folders of the existing track, and their splits."""
  there = [any(walk.is_folder(root / name) for name in parts) for parts in _TRACKS]
  if all(there):
    found = "folders of single coils and of several, which show the same patients"
    remedy = "Put one track, or links to it, into a separate folder."
    raise UserError(root, found, "the folders of one of the two", remedy)
  return _TRACKS[there[1]]


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[RawScan]:
  """Opens a file, which is undersampled if it has `mask`, one value per column."""
  with opened(path) as file:
    header = read_header(file, path)
    kspace = h5_dataset(file, "kspace")
    slices, *shape = _shape(path, kspace)
    _refuse_other_layout(path, file, slices, shape)
    known = {k: header.attributes[k] for k in _ATTRIBUTES if k in header.attributes}
    details = {"file_shape": list(kspace.shape), "attributes": known}
    details["unit"] = SUBJECT if header.attributes.get("patient_id") else FILE
    details["note"] = f"{CITATION} {EMULATED}" if kspace.ndim == 3 else CITATION
    sampled = None
    if "mask" in file:
      columns = h5_array(file, "mask")
      if found := other_values(columns):
        expected = "0 and 1, one value per column"
        raise UserError(path, f"'mask' with {found}", expected)
      if columns.shape != (shape[-1],):
        found = f"'mask' of shape {columns.shape}"
        remedy = "Masks of points go with the source arrays; or remove 'mask': points "
        remedy += "that are exactly zero in all coils then count as not sampled."
        expected = f"one value for each of the {shape[-1]} columns"
        raise UserError(path, found, expected, remedy)
      sampled = np.broadcast_to(columns != 0, (slices, *shape[1:]))
    else:
      details |= _encoded(path, header.text, shape[1:])
    read_slice = lambda k: kspace[k].reshape(shape)  # noqa: E731
    record = {"file": str(path), "phase_encode_axis": 1}
    yield RawScan(path, slices, read_slice, record, details, sampled, header=header)


def _shape(path, kspace):
  """Slices, coils, rows and columns; refuses other layouts."""
  shape = kspace.shape
  if kspace.dtype.kind != "c" or len(shape) not in (3, 4) or 0 in shape:
    found = f"'kspace' of type {kspace.dtype} and shape {shape}"
    expected = "complex (slices, rows, columns) or (slices, coils, rows, columns)"
    remedy = "Check that the file is one of fastMRI."
    if 0 in shape:
      expected += ", at least one of each"
      remedy = "The file holds no k-space: copy it again, or exclude it."
    raise UserError(path, found, expected, remedy)
  return shape if len(shape) == 4 else (shape[0], 1, *shape[1:])


def _refuse_other_layout(path, file, slices, shape):
  """Refuses coils as slices, and coils in the last axis."""
  coil_count, *size = shape
  found = ""
  for key in ("reconstruction_rss", "reconstruction_esc"):
    images = file.get(key)
    if isinstance(images, h5py.Dataset) and images.ndim == 3 and len(images) != slices:
      found = f"{slices} slices of 'kspace', but {len(images)} of {key!r}"
  if coil_count > min(size):
    found = f"'kspace' of {coil_count} coils for {size[0]} rows and {size[1]} columns"
  if found:
    expected = "(slices, rows, columns) of one coil or (slices, coils, rows, columns)"
    raise UserError(path, found, expected, "Store the axes as fastMRI does.")
  layout.refuse_transposed(path, "'kspace'", (slices, *size))


def _volume(config: DataConfig, scan: RawScan, split: str | None = None) -> Volume:
  single = len(scan.details["file_shape"]) == 3
  way = combination.chosen(config.combine, "rss", "none") or ("" if single else "rss")
  name = scan.path.stem
  patient = str(scan.header.attributes.get("patient_id") or name)
  subject = subject_of(config, scan.path, patient)
  return scan.volume(name, subject, way, split, config.sensitivities)


def _encoded(path: pathlib.Path, text: str, size: list[int]) -> dict[str, Any]:
  """The sizes in the ISMRMRD header, as far as it contains them.

  Args:
    path: the file, for messages.
    text: the header, or "".
    size: rows and columns of the k-space, which must not be transposed.

  Returns:
    encoded_matrix and recon_matrix, (readout, phase encode, slice encode); their fields
    of view and zooms in mm; acquired_columns, the measured columns [start, stop).
  """
  header = ElementTree.fromstring((text or "<none/>").encode())
  found: dict[str, Any] = {}
  sizes = (("matrix", "matrixSize", int), ("field_of_view", "fieldOfView_mm", float))
  for space, (entry, element, kind) in itertools.product(("encoded", "recon"), sizes):
    numbers = _numbers(header, f"{space}Space", element, "xyz")
    if numbers and all(number > 0 for number in numbers):
      found[f"{space}_{entry}"] = list(map(kind, numbers))
  if "encoded_matrix" not in found:
    return found
  matrix = found["encoded_matrix"]
  if field := found.get("encoded_field_of_view"):
    found["zooms"] = [mm / points for mm, points in zip(field, matrix, strict=True)]
  rows, columns, _ = matrix
  if size != [rows, columns] and size == [columns, rows]:
    problem = f"{size[0]} rows and {size[1]} columns, transposed to its header"
    expected = f"{rows} rows (readout) and {columns} columns (phase encoding)"
    raise UserError(path, problem, expected, "Store the k-space as fastMRI does.")
  step = "kspace_encoding_step_1"
  if limits := _numbers(header, "encodingLimits", step, ("center", "maximum")):
    start = columns // 2 - int(limits[0])
    found["acquired_columns"] = [start, start + int(limits[1]) + 1]
  return found


def _numbers(header, part, what, keys):
  where = f"{{*}}encoding/{{*}}{part}/{{*}}{what}"
  texts = [header.findtext(f"{where}/{{*}}{key}") for key in keys]
  return None if None in texts else [float(text) for text in texts]


def _is_fastmri(file: h5py.File) -> bool:
  """Whether a file has k-space, and a header, attributes, images or a mask."""
  return isinstance(file.get("kspace"), h5py.Dataset) and bool(
    {"ismrmrd_header", "reconstruction_rss", "reconstruction_esc"} & set(file)
    or {"acquisition", "patient_id"} & set(file.attrs)
    or getattr(file.get("mask"), "ndim", 0) == 1
  )


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads a file, which is undersampled if it has `mask`, one value per column.

  Without `mask`, points that are exactly zero in all coils were not sampled; the middle
  slice shows whether these are more than a border.

  Args:
    path: the h5 file.
    config: its `combine` is "sense" for undersampled k-space of several coils, see
      `data.measured.RawScan`.

  Raises:
    ArgumentError: `contrast` is another acquisition than the file's.
    UserError: a damaged file or one of another layout, samples outside the mask,
      several coils without sensitivities, or missing or unfitting ones.
  """
  with _opened(path) as scan:
    if scan.sampled is not None or scan.has_gaps():
      return scan.measured(config)
    choose(config, "", [_acquisition(path)], path)
    return _volume(config, scan)


SOURCE = Source(
  volumes,
  takes=("contrast", "combine"),
  files="fastMRI (.h5)",
  recognise=holds(_is_fastmri),
  read=read,
)
