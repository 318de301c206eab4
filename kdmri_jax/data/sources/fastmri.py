"""fastMRI: raw k-space of knees and brains (Knoll et al. 2020, Zbontar et al. 2018)."""

import pathlib
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import files_of_parts, root_folder, subject_of, wanted
from kdmri_jax.data.measured import Measured, Plane, of_planes, sensitivities
from kdmri_jax.data.source import FILE, Scan, Source, holds
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.h5 import h5_dataset, read_header
from kdmri_jax.io.reading import reading
from kdmri_jax.physics import coils

CITATION = (
  "fastMRI (Zbontar et al., arXiv 1811.08839; Knoll et al., Radiology: Artificial "
  "Intelligence 2020), under its data use agreement."
)
EMULATED = "The single coil was emulated from several by the authors of the data."
_PARTS = {"train": "train", "val": "validation"}
_TRACKS = ("singlecoil", "multicoil")
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
  several coils it is their root sum of squares. It has the full field of view of the
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
  coils.chosen(config.combine, "rss")
  acquisitions = set()
  for path, split in files_of_parts(root, _parts(root), _LAYOUT):
    if wanted(config, path.stem):
      volume = _volume(config, path, split, acquisitions)
      if volume is not None:
        yield volume
  if acquisitions and config.contrast not in ("", *acquisitions):
    raise _no_such(config, acquisitions)


def _no_such(config: DataConfig, acquisitions: set[str]) -> ArgumentError:
  return ArgumentError(
    "contrast",
    repr(config.contrast),
    f"one of the acquisitions there, {', '.join(sorted(acquisitions))}; '' takes all",
  )


def _parts(root: pathlib.Path) -> dict[str, str]:
  """The folders of the existing track, and their splits."""
  there = [
    track
    for track in _TRACKS
    if any((root / f"{track}_{part}").is_dir() for part in _PARTS)
  ]
  if len(there) > 1:
    found = "folders of single coils and of several, which show the same patients"
    remedy = "Put one track, or links to it, into a separate folder."
    raise UserError(root, found, "the folders of one of the two", remedy)
  (track,) = there or _TRACKS[:1]
  return {f"{track}_{part}": split for part, split in _PARTS.items()}


def _volume(config, path, split, acquisitions):
  """The volume of a file, or None for another acquisition."""
  with reading(path), h5py.File(path) as file:
    kept = read_header(file, path)
    attributes = {k: kept.attributes[k] for k in _ATTRIBUTES if k in kept.attributes}
    acquisitions.add(str(attributes.get("acquisition")))
    if config.contrast not in ("", attributes.get("acquisition")):
      return None
    patient = kept.attributes.get("patient_id", "")
    space = _encoded(kept.text)
    kspace = h5_dataset(file, "kspace")
    _check(path, kspace, "mask" in file, space.get("encoded_matrix"))
    single = kspace.ndim == 3
    way = config.combine or ("" if single else "rss")
    slices = (
      (kspace[k][None] if single else kspace[k], None) for k in range(len(kspace))
    )
    target, record = coils.combine(slices, way, path)
    record |= {"file": str(path), "phase_encode_axis": 1}
    record |= {"file_shape": list(kspace.shape), "attributes": attributes, **space}
  notes = [CITATION, EMULATED if single else "", record["note"]]
  record["note"] = " ".join(filter(None, notes))
  record |= {} if patient else {"unit": FILE}
  subject = subject_of(config, path, str(patient or path.stem))
  return Volume(path.stem, subject, target, split=split, record=record, header=kept)


def _check(path, kspace, has_mask, encoded):
  if has_mask:
    found = "a sampling mask: undersampled k-space of a test or challenge set"
    expected = "fully sampled k-space, from which the target is made"
    raise UserError(path, found, expected, "Use the training and validation files.")
  shape = _shape(path, kspace)
  if encoded and list(shape[-2:]) != encoded[:2] and list(shape[:-3:-1]) == encoded[:2]:
    found = f"{shape[-2]} rows and {shape[-1]} columns, transposed to its header"
    expected = f"{encoded[0]} rows (readout) and {encoded[1]} columns (phase encoding)"
    raise UserError(path, found, expected, "Store the k-space as fastMRI does.")


def _shape(path, kspace):
  """Slices, coils, rows and columns; refuses other layouts."""
  shape = kspace.shape
  if kspace.dtype.kind != "c" or len(shape) not in (3, 4) or 0 in shape:
    found = f"'kspace' of type {kspace.dtype} and shape {shape}"
    expected = "complex (slices, rows, columns) or (slices, coils, rows, columns)"
    raise UserError(path, found, expected, "Check that the file is one of fastMRI.")
  return shape if len(shape) == 4 else (shape[0], 1, *shape[1:])


def _encoded(text: str) -> dict[str, Any]:
  """The sizes in the ISMRMRD header, as far as it contains them.

  Returns:
    encoded_matrix and recon_matrix, (readout, phase encode, slice encode); their fields
    of view and zooms in mm; acquired_columns, the measured columns [start, stop).
  """
  if not text:
    return {}
  encoding = ElementTree.fromstring(text.encode()).find("{*}encoding")
  if encoding is None:
    return {}
  found = {}
  for name in ("encoded", "recon"):
    matrix = _sizes(encoding, f"{name}Space", "matrixSize")
    field = _sizes(encoding, f"{name}Space", "fieldOfView_mm")
    if matrix:
      found[f"{name}_matrix"] = [int(size) for size in matrix]
    if field:
      found[f"{name}_field_of_view"] = field
    if matrix and field and name == "encoded":
      found["zooms"] = [mm / size for mm, size in zip(field, matrix, strict=True)]
  limits = _numbers(
    encoding, "encodingLimits", "kspace_encoding_step_1", ("center", "maximum")
  )
  if "encoded_matrix" in found and limits:
    start = found["encoded_matrix"][1] // 2 - int(limits[0])
    found["acquired_columns"] = [start, start + int(limits[1]) + 1]
  return found


def _sizes(encoding, space, what):
  """As `_numbers`; None where one of them is not a size."""
  numbers = _numbers(encoding, space, what, ("x", "y", "z"))
  return numbers if numbers and all(number > 0 for number in numbers) else None


def _numbers(encoding, space, what, keys):
  texts = [encoding.findtext(f"{{*}}{space}/{{*}}{what}/{{*}}{key}") for key in keys]
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

  Args:
    path: the h5 file.
    config: its `combine` is "sense" for undersampled k-space of several coils, see
      `data.measured.sensitivities`.

  Raises:
    ArgumentError: `contrast` is another acquisition than the file's.
    UserError: a damaged file or one of another layout, samples outside the mask,
      several coils without sensitivities, or missing or unfitting ones.
  """
  with reading(path), h5py.File(path) as file:
    if "mask" in file:
      return _undersampled(path, file, config)
  coils.chosen(config.combine, "rss")
  acquisitions: set[str] = set()
  volume = _volume(config, path, None, acquisitions)
  if volume is None:
    raise _no_such(config, acquisitions)
  return volume


def _undersampled(path: pathlib.Path, file: h5py.File, config: DataConfig) -> Measured:
  columns = np.asarray(file["mask"][()]) != 0
  kspace = h5_dataset(file, "kspace")
  shape = _shape(path, kspace)
  if columns.shape != shape[-1:]:
    raise UserError(path, f"'mask' of shape {columns.shape}", f"{shape[-1]} columns")
  maps = sensitivities(path, shape, config)
  mask = np.broadcast_to(columns, shape[2:])
  planes = (Plane(kspace[k].reshape(shape[1:]), maps[k], mask) for k in range(shape[0]))
  record = {"file": str(path), "phase_encode_axis": 1}
  return of_planes(path, planes, record, read_header(file, path))


SOURCE = Source(
  volumes,
  takes=("contrast", "combine"),
  files="fastMRI (.h5)",
  recognise=holds(_is_fastmri),
  read=read,
)
