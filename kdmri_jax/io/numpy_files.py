"""Files of NumPy: one array (.npy), and archives of slices (.npz)."""

import os
import pathlib

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import reading


def read_npy(path: str | os.PathLike) -> np.ndarray:
  """Reads one array, without pickles.

  Raises:
    UserError: the file is damaged, or holds Python objects.
  """
  with reading(path), open(path, "rb") as file:
    return np.lib.format.read_array(file, allow_pickle=False)


def read_npz(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray | None]:
  """Reads one archive: the array `image` and optionally `subject`.

  Returns:
    `image` [S, H, W], and `subject` [S] as text (1.0 as "1"), None where there is none.

  Raises:
    UserError: the file is damaged or not an archive, `image` is missing, empty or of
      another number of axes, or `subject` does not name each slice.
  """
  with reading(path), path.open("rb") as stream:
    file = np.load(stream)
    if not isinstance(file, np.lib.npyio.NpzFile):
      raise ValueError("one array, as numpy.save writes it, and no archive")
    keys = sorted(file)
    images = file["image"] if "image" in keys else None
    subjects = _text(file["subject"]) if "subject" in keys else None
  found = ""
  if images is None:
    found = f"no array 'image' (the arrays are: {', '.join(keys) or 'none'})"
  elif images.ndim != 3 or not images.size:
    found = f"an array 'image' of shape {images.shape}"
  elif subjects is not None and (subjects.shape != images.shape[:1] or "" in subjects):
    empty = " with empty texts" if "" in subjects else ""
    found = f"an array 'subject' of shape {subjects.shape}{empty}"
    found += f" for {len(images)} slices"
  if found:
    expected = "image [slices, rows, columns], not empty, and one subject per slice"
    remedy = "Save them with numpy.savez(file, image=slices, subject=numbers)."
    raise UserError(path, found, expected, remedy)
  return images, subjects


def _text(subjects: np.ndarray) -> np.ndarray:
  whole = subjects.dtype.kind == "f" and np.isfinite(subjects).all()
  if whole and (subjects == np.floor(subjects)).all():
    subjects = subjects.astype(np.int64)
  return subjects.astype(str)
