"""Files of NumPy: one array (.npy), and archives of slices (.npz)."""

import contextlib
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib import format

from kdmri_jax.errors import UserError
from kdmri_jax.io import layout
from kdmri_jax.io.reading import reading, refuse_huge


def read_npy(path: str | os.PathLike) -> np.ndarray:
  """Reads one array, without pickles.

  Raises:
    UserError: the file is damaged, or holds Python objects.
  """
  with reading(path):
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # compares the sizes
    if not isinstance(mapped, np.memmap):
      raise ValueError("an archive instead of one array")
    refuse_huge(path, mapped.shape, mapped.itemsize)
    return np.array(mapped)


@contextlib.contextmanager
def opened_npz(path: pathlib.Path) -> Iterator[np.lib.npyio.NpzFile]:
  """Opens an archive to read it; its arrays are not much larger than the file.

  Raises:
    UserError: the file is damaged, not an archive, or its arrays are far larger than
      the file or larger than the memory; also for any exception in the block.
  """
  with reading(path), path.open("rb") as stream:
    file = np.load(stream, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
      raise ValueError("one array, as numpy.save writes it, and no archive")
    for member in file.zip.infolist():
      stored = member.compress_size
      if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
          f"{member.filename} in a compression that NumPy does not write"
        )
      refuse_huge(path, (member.file_size,), 1, stored=stored, compressed=True)
    yield file


def npz_array(file: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
  """One array of an open archive.

  Raises:
    ValueError: the member is no array; NumPy would give its bytes.
  """
  if not isinstance(array := file[key], np.ndarray):
    raise ValueError(f"{key!r}, which is no array")
  return array


def npz_shapes(file: np.lib.npyio.NpzFile) -> dict[str, tuple[int, ...]]:
  """The arrays of an open archive and their shapes by their headers, sorted by name.

  Raises:
    ValueError: a member is no array.
  """
  found = {}
  members = {name.removesuffix(".npy"): name for name in file.zip.namelist()}
  for key in sorted(file):
    with file.zip.open(members[key]) as member:
      version = format.read_magic(member)
      read = format.read_array_header_1_0
      if version > (1, 0):  # version 3 differs from 2 in the names of fields alone
        read = format.read_array_header_2_0
      found[key] = read(member)[0]
  return found


class Archive(NamedTuple):
  """The arrays of an archive.

  Attributes:
    images: `image`, [S, H, W].
    subjects: `subject`, [S], as text (1.0 as "1"); None where there is none.
    inputs: `input`, of the shape of `images`; None where there is none.
  """

  images: np.ndarray
  subjects: np.ndarray | None
  inputs: np.ndarray | None


def read_npz(path: pathlib.Path) -> Archive:
  """Reads one archive: the array `image` and optionally `subject` and `input`.

  Raises:
    UserError: the file is damaged or not an archive, `image` is missing, empty or of
      another layout, `subject` does not name each slice, or `input` has another shape
      than `image`.
  """
  with opened_npz(path) as file:
    keys = sorted(file)
    images = npz_array(file, "image") if "image" in keys else None
    subjects = _text(npz_array(file, "subject")) if "subject" in keys else None
    inputs = npz_array(file, "input") if "input" in keys else None
  if images is not None:
    layout.refuse_pairs(path, "'image'", images)
    layout.refuse_transposed(path, "'image'", images.shape)
  found = ""
  if images is None:
    found = f"no array 'image' (the arrays are: {', '.join(keys) or 'none'})"
  elif images.ndim != 3 or not images.size:
    found = f"an array 'image' of shape {images.shape}"
  elif subjects is not None and (subjects.shape != images.shape[:1] or "" in subjects):
    empty = " with empty texts" if "" in subjects else ""
    found = f"an array 'subject' of shape {subjects.shape}{empty}"
    found += f" for {len(images)} slices"
  elif inputs is not None and inputs.shape != images.shape:
    found = f"an array 'input' of shape {inputs.shape} for {images.shape}"
  if found:
    expected = "image [slices, rows, columns], not empty, and one subject per slice"
    expected += " and an input of its shape, if any"
    remedy = "Save them with numpy.savez(file, image=slices, subject=numbers)."
    raise UserError(path, found, expected, remedy)
  return Archive(images, subjects, inputs)


def _text(subjects: np.ndarray) -> np.ndarray:
  whole = subjects.dtype.kind == "f" and np.isfinite(subjects).all()
  if whole and (subjects == np.floor(subjects)).all():
    subjects = subjects.astype(np.int64)
  texts = subjects.astype(str)
  "".join(texts.ravel().tolist()).encode()  # refuses what is no character
  return texts
