"""Folders of PNG and TIFF images, which are the slices of volumes."""

import collections
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import folders
from kdmri_jax.data.source import FILE, SUBJECT, Scan, Source, by_ending, note_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.pictures import ENDINGS, read_pictures

_FOLDER = "folder"


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every PNG and TIFF below the root; folders and subjects make the volumes.

  The images of one folder are the slices of a volume, named after the folder, in the
  order of their names, in which numbers count as such (2 before 10); a TIFF of several
  pages gives several slices. Where `config.subject_pattern` finds several subjects in a
  folder, each has a volume there, and its name. Without it a folder counts as a
  subject, but images in the root itself are volumes and subjects of their own. The
  folders `train`, `validation` and `test` are the split as for NIfTI.

  Raises:
    UserError: no image, a damaged or coloured one, or one of another size or type
      than the others of its volume.
  """
  groups: dict[tuple[str | None, str, str], list[pathlib.Path]] = {}
  for path, top, split in folders.divided(config, ENDINGS, "grey images"):
    folder = "_".join(path.parent.relative_to(top).parts)
    subject = folders.subject_of(config, path, folder or folders.label_of(top, path))
    groups.setdefault((split, folder, subject), []).append(path)
  count = collections.Counter((split, folder) for split, folder, _ in groups)
  for (split, folder, subject), paths in groups.items():
    label = folder or subject
    if folder and count[split, folder] > 1:
      label = f"{folder}_{subject}"
    name = folders.safe_name(label)
    if folders.wanted(config, name):
      yield _volume(config, paths, name, subject, split, bool(folder))


def _volume(config, paths: Sequence[pathlib.Path], name, subject, split, in_folder):
  paths = sorted(paths, key=_in_order)
  images = [read_pictures(path) for path in paths]
  for path, each in zip(paths, images, strict=True):
    if (each.shape[1:], each.dtype) != (images[0].shape[1:], images[0].dtype):
      found = f"an image of {each.shape[1:]} pixels of {each.dtype}"
      expected = f"{images[0].shape[1:]} of {images[0].dtype}, as {paths[0].name} "
      expected += "of the same volume"
      remedy = "Put it into a folder of its own, or tell subjects by subject_pattern."
      raise UserError(path, found, expected, remedy)
  unit, note = (FILE, note_of(config))
  if config.subject_pattern:
    unit = SUBJECT
  elif in_folder:
    unit, note = _FOLDER, note.replace("Each file", "Each folder")
  where = paths[0].parent if len(paths) > 1 else paths[0]
  stack = np.concatenate(images)
  record = {"file": str(where), "file_shape": list(stack.shape), "files": len(paths)}
  record |= {"unit": unit, "note": note}
  return Volume(name, subject, stack, split=split, record=record)


def _in_order(path: pathlib.Path) -> list[tuple[int, int, str]]:
  """A key that sorts names by their texts and numbers."""
  parts = re.split(r"(\d+)", path.name)
  return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]


def recognise(path: pathlib.Path) -> bool:
  """Whether a file is such an image, or a folder holds some."""
  if path.is_dir():
    return bool(walk.files(path, ENDINGS, below=False))
  return by_ending(*ENDINGS)(path)


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads a file, or the images of one folder as one volume, for reconstruction."""
  paths = walk.files(path, ENDINGS, below=False) if path.is_dir() else [path]
  if not paths:
    raise folders.not_there(path, "file *.png or *.tif in it", "grey images")
  name = folders.safe_name(path.stem)
  return _volume(config, paths, name, name, None, path.is_dir())


SOURCE = Source(
  volumes,
  unit=FILE,
  files="PNG or TIFF, or a folder of them",
  recognise=recognise,
  read=read,
  read_folder=read,
)
