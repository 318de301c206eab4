"""The raw knee k-space of Hammernik et al. 2018, which KD-MRI also used."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import not_there, root_folder, subject_of, wanted
from kdmri_jax.data.measured import by_zeros, no_sensitivities, of_planes, require_sense
from kdmri_jax.data.source import Scan, Source, by_ending, only
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.mat import contents, read_mat
from kdmri_jax.physics import coils

CITATION = "Knees of Hammernik et al., Magnetic Resonance in Medicine 79, 2018."
USUAL = "coronal_pd"


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads ROOT/SEQUENCE/SUBJECT/rawdata<k>.mat, or ROOT/SUBJECT/... of one sequence.

  `rawdata` (readout, phase encode, coils) is one slice's centred k-space; the readout
  runs along the rows, with twofold oversampling, and slices are in the order of k.
  `config.contrast` is the sequence: "coronal_pd" where it is "", "coronal_pd_fs",
  "axial_t2", "sagittal_pd" or "sagittal_t2". Subjects are named "01" to "20".

  `config.combine` is "rss", as in KD-MRI, where it is "", or "sense", which takes the
  `sensitivities` of espirit<k>.mat; the `reference` there is not read.

  Raises:
    UserError: no such folder or sequence, or a file that is missing, damaged,
      undersampled or of another layout.
  """
  root = root_folder(config)
  way = coils.chosen(config.combine, "rss", "sense") or "rss"
  folder = _sequence(root, config.contrast)
  for number, subject in _subjects(folder):
    name = f"{folder.resolve().name}_{number:02d}"
    if wanted(config, name):
      yield _volume(config, subject, name, f"{number:02d}", way)


def _sequence(root: pathlib.Path, contrast: str) -> pathlib.Path:
  """The folder that holds the folders of the subjects."""
  if _subjects(root):
    found = {root.resolve().name: root}
    asked = contrast or root.resolve().name
  else:
    found = {path.name: path for path in sorted(root.iterdir()) if _subjects(path)}
    asked = contrast or USUAL
  if not found:
    holding = "the folders of the sequences, or one, with a numbered folder per subject"
    raise not_there(root, f"folder {USUAL}/1 with files rawdata<k>.mat in it", holding)
  if asked not in found:
    expected = f"one of the sequences in {root}, {', '.join(found)}"
    raise ArgumentError("contrast", repr(asked), expected)
  return found[asked]


def _subjects(folder: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
  """Numbers and folders, in the order of the numbers."""
  if not folder.is_dir():
    return []
  return sorted(
    (int(path.name), path)
    for path in folder.iterdir()
    if path.name.isdecimal() and slice_numbers(path)
  )


def slice_numbers(folder: pathlib.Path) -> list[int]:
  """The k of a folder's files rawdata<k>.mat, sorted."""
  names = (path.name for path in folder.glob("rawdata*.mat"))
  matches = (re.fullmatch(r"rawdata(\d+)\.mat", name) for name in names)
  return sorted(int(match[1]) for match in matches if match)


def numbers_of(path: pathlib.Path) -> list[int]:
  """The k of a folder of files rawdata<k>.mat, or of one of them.

  Raises:
    UserError: a file of another name; the message lists what it holds.
  """
  if path.is_dir():
    return slice_numbers(path)
  match = re.fullmatch(r"rawdata(\d+)\.mat", path.name)
  if match is None:
    raise UserError(
      path,
      f"a MATLAB file of another name (its variables are: {contents(path)})",
      "rawdata<k>.mat, slice k as `rawdata` (readout, phase encode, coils)",
      "Save the slices like that, or in BART's order by kdmri_jax.io.cfl.write_cfl.",
    )
  return [int(match[1])]


def read_folder(
  folder: pathlib.Path, numbers: list[int], way: str
) -> tuple[np.ndarray, dict[str, Any]]:
  """The images of some slices, and entries for the record.

  Args:
    folder: with files rawdata<k>.mat.
    numbers: their k.
    way: "rss" or "sense".

  Raises:
    UserError: a file is missing, damaged, undersampled or of another layout.
  """
  slices = (read_slice(folder, k, way) for k in numbers)
  target, record = coils.combine(slices, way, folder)
  record |= {"file": str(folder), "file_slices": numbers, "phase_encode_axis": 1}
  record |= {"file_shape": [*target.shape[1:], record["coils"]]}
  return target, record


def _volume(config, folder, name, subject, way):
  numbers = slice_numbers(folder)
  target, record = read_folder(folder, numbers, way)
  record["note"] = f"{CITATION} {record['note']}"
  first = folder / f"rawdata{numbers[0]}.mat"
  return Volume(name, subject_of(config, first, subject), target, record=record)


def read_slice(
  folder: pathlib.Path, k: int, way: str
) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads rawdata<k>.mat and, for the way "sense", espirit<k>.mat.

  Returns:
    Centred k-space and sensitivities, complex64 [C, H, W]; no sensitivities (None)
    where they are not needed.

  Raises:
    UserError: a file is missing, damaged or of another layout.
  """
  path = folder / f"rawdata{k}.mat"
  (kspace,) = read_mat(path, "rawdata")
  _check(path, "rawdata", kspace)
  if way != "sense":
    return _coils_first(kspace), None
  maps = folder / f"espirit{k}.mat"
  if not maps.is_file():
    raise no_sensitivities(maps, path, "Copy it from the official data")
  (sensitivities,) = read_mat(maps, "sensitivities")
  _check(maps, "sensitivities", sensitivities, kspace.shape)
  return _coils_first(kspace), _coils_first(sensitivities)


def _check(path, name, array, shape=None):
  is_complex = array.dtype.kind == "c"
  kind = "complex" if is_complex else "real"
  fits = array.ndim == 3 and 0 < array.shape[2] <= min(array.shape[:2])
  if not is_complex or not fits or (shape and array.shape != shape):
    layout = f"of shape {shape}, as in rawdata" if shape else "(readout, phase, coils)"
    found = f"{kind} numbers of shape {array.shape} in {name!r}"
    raise UserError(path, found, f"complex numbers {layout}")


def _coils_first(array):
  return np.moveaxis(array, 2, 0).astype(np.complex64)


def recognise(path: pathlib.Path) -> bool:
  """Whether a folder holds files rawdata<k>.mat, or a file is MATLAB's."""
  return by_ending(".mat")(path) or (path.is_dir() and bool(slice_numbers(path)))


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads rawdata<k>.mat of one folder, or one of them, which may be undersampled.

  Points that are exactly zero in all coils were not sampled; the first slice shows
  whether these are more than a border.

  Args:
    path: a folder of files rawdata<k>.mat, with any name, or one of the files.
    config: its `combine` is "sense" for undersampled k-space of several coils, whose
      sensitivities espirit<k>.mat then holds.

  Raises:
    UserError: a damaged file, slices that were sampled differently, or several coils
      without sensitivities.
  """
  folder, numbers = path if path.is_dir() else path.parent, numbers_of(path)
  first, _ = read_slice(folder, numbers[0], "")
  if not coils.missing_samples((first != 0).any(0)):
    way = coils.chosen(config.combine, "rss", "sense") or "rss"
    images, record = read_folder(folder, numbers, way)
    return Volume(path.stem, path.stem, images, record=record)
  require_sense(path, len(first), "espirit<k>.mat", config)
  way = "sense" if len(first) > 1 else ""
  planes = by_zeros(read_slice(folder, k, way) for k in numbers)
  record = {"file": str(path), "phase_encode_axis": 1}
  return of_planes(path, planes, record)


def read_subjects(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads the slices of a folder, or the only subject of the folders in it."""
  if slice_numbers(path):
    return read(path, config)
  return only(path, volumes(config), config)


SOURCE = Source(
  volumes,
  takes=("contrast", "combine"),
  files="a folder of rawdata<k>.mat, or one of them",
  recognise=recognise,
  read=read,
  read_folder=read_subjects,
)
