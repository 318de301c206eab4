"""NumPy archives: slices and whose they are."""

import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.files import (
  files_of,
  label_of,
  reading,
  root_folder,
  safe_name,
  subject_of,
  wanted,
)
from kdmri_jax.data.units import FILE, SUBJECT, unit_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every *.npz below the root, in the order of their paths.

  `image` [S, H, W] holds the slices, real or complex; `subject` [S], numbers or text,
  says whose each is, in all files alike. The slices of one subject become one volume,
  named "FILE_SUBJECT", in which zeros before a number make all as long as the longest;
  a file without `subject` is one volume and one subject, both named after its path.

  Raises:
    UserError: no file, a damaged one, a missing or empty `image`, a `subject` that does
      not name each slice, or two subjects that would give volumes of one name.
  """
  root = root_folder(config)
  for path in files_of(root, [".npz"], "NumPy archives with the array `image`"):
    yield from _volumes(config, path, label_of(root, path))


def _volumes(config, path: pathlib.Path, label: str) -> Iterator[Volume]:
  images, subjects = read_npz(path)
  record = {"file": str(path), "source": "npz", "file_shape": list(images.shape)}
  record |= {"simulated_kspace": True}
  if subjects is None:
    name = safe_name(label)
    if wanted(config, name):
      record["unit"] = unit_of(config, FILE)
      subject = subject_of(config, path, label)
      yield Volume(name, subject=subject, target=images, record=record)
    return
  record["unit"] = SUBJECT
  for name, subject in _names(path, label, subjects).items():
    if wanted(config, name):
      rows = np.flatnonzero(subjects == subject)
      part = dict(record, file_slices=rows.tolist())
      yield Volume(name, subject=subject, target=images[rows], record=part)


def _names(path, label, subjects) -> dict[str, str]:
  """Volume name -> subject, in the order of the slices."""
  names, width = {}, max(map(len, subjects))
  for subject in dict.fromkeys(subjects.tolist()):
    filled = subject.zfill(width) if subject.isdecimal() else subject
    name = safe_name(f"{label}_{filled}")
    other = names.setdefault(name, subject)
    if other != subject:
      raise UserError(
        path,
        f"the subjects {other!r} and {subject!r}, whose volumes would both be called "
        f"{name!r}",
        "texts that differ in letters, digits, '.' or '-', numbers that differ",
        "Rename one of the subjects.",
      )
  return names


def read_npz(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads one archive.

  Returns:
    `image` [S, H, W], and `subject` [S] as text (1.0 as "1"), None where there is none.

  Raises:
    UserError: the file is damaged or no archive, `image` is missing, empty or of
      another number of axes, or `subject` does not name each slice.
  """
  with reading(path, zipfile.BadZipFile), path.open("rb") as stream:
    file = np.load(stream)
    if not isinstance(file, np.lib.npyio.NpzFile):
      raise ValueError("one array, as numpy.save writes it, and no archive")
    keys = sorted(file)
    images = file["image"] if "image" in keys else None
    subjects = _text(file["subject"]) if "subject" in keys else None
  if images is None:
    raise UserError(
      path,
      f"no array 'image' (the arrays are: {', '.join(keys) or 'none'})",
      "the slices as `image` [slices, rows, columns]",
      "Save them with numpy.savez(file, image=slices, subject=numbers).",
    )
  if images.ndim != 3 or not images.size:
    raise UserError(
      path,
      f"an array 'image' of shape {images.shape}",
      "three dimensions (slices, rows, columns), none of them 0",
      "Save it with numpy.savez(file, image=slices, subject=numbers).",
    )
  if subjects is not None and (subjects.shape != images.shape[:1] or "" in subjects):
    empty = " with empty texts" if "" in subjects else ""
    raise UserError(
      path,
      f"an array 'subject' of shape {subjects.shape}{empty} for {len(images)} slices",
      "one subject a slice",
      "Save both with numpy.savez(file, image=slices, subject=numbers).",
    )
  return images, subjects


def _text(subjects: np.ndarray) -> np.ndarray:
  whole = subjects.dtype.kind == "f" and np.isfinite(subjects).all()
  if whole and (subjects == np.floor(subjects)).all():
    subjects = subjects.astype(np.int64)
  return subjects.astype(str)
