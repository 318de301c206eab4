"""NumPy archives of slices with their subjects."""

import pathlib
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import folders
from kdmri_jax.data.source import FILE, SUBJECT, Source, by_ending, only
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io.numpy_files import read_npz


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every *.npz below the root, in the order of their paths.

  `image` [S, H, W] holds the slices, real or complex; `subject` [S], numbers or text,
  is the subject of each slice, with the same meaning in all files. The slices of one
  subject become one volume, named "FILE_SUBJECT", where numbers are padded with zeros
  to equal length; a file without `subject` is one volume and one subject, both named
  after its path.

  Raises:
    UserError: no file, a damaged one, a missing or empty `image`, a `subject` that does
      not name each slice, or two subjects that would give volumes of one name.
  """
  root = folders.root_folder(config)
  for path in folders.files_of(root, [".npz"], "NumPy archives with the array `image`"):
    yield from _volumes(config, path, folders.label_of(root, path))


def _volumes(config, path: pathlib.Path, label: str) -> Iterator[Volume]:
  images, subjects = read_npz(path)
  record = {"file": str(path), "file_shape": list(images.shape)}
  if subjects is None:
    name = folders.safe_name(label)
    if folders.wanted(config, name):
      subject = folders.subject_of(config, path, label)
      yield Volume(name, subject=subject, target=images, record=record)
    return
  record["unit"] = SUBJECT
  for name, subject in _names(path, label, subjects).items():
    if folders.wanted(config, name):
      rows = np.flatnonzero(subjects == subject)
      part = dict(record, file_slices=rows.tolist())
      yield Volume(name, subject=subject, target=images[rows], record=part)


def _names(path, label, subjects) -> dict[str, str]:
  """Volume name -> subject, in the order of the slices."""
  names, width = {}, max(map(len, subjects))
  for subject in dict.fromkeys(subjects.tolist()):
    filled = subject.zfill(width) if subject.isdecimal() else subject
    name = folders.safe_name(f"{label}_{filled}")
    other = names.setdefault(name, subject)
    if other != subject:
      found = f"the subjects {other!r} and {subject!r}, whose volumes are both {name!r}"
      expected = "texts that differ in letters, digits, '.' or '-', numbers that differ"
      raise UserError(path, found, expected, "Rename one of the subjects.")
  return names


SOURCE = Source(
  volumes,
  unit=FILE,
  files=".npz",
  recognise=by_ending(".npz"),
  read=lambda path, config: only(path, _volumes(config, path, path.stem), config),
)
