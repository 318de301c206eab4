"""Folders of NIfTI files, one volume per file."""

import pathlib
from collections.abc import Iterator

from kdmri_jax.config import DataConfig
from kdmri_jax.data import folders
from kdmri_jax.data.source import FILE, Source, by_ending, note_of
from kdmri_jax.data.volume import Volume
from kdmri_jax.io.nifti import read_nifti


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every *.nii and *.nii.gz below the root, in the order of their paths.

  Where the root has folders `train` and `validation` (and perhaps `test`), only these
  are read and they are the split. A volume is named after its path. Each file counts as
  a subject of the same name, unless `config.subject_pattern` finds another.

  Raises:
    UserError: no file, a damaged one, or one that is not three-dimensional.
  """
  root = folders.root_folder(config)
  divided = all((root / split).is_dir() for split in ("train", "validation"))
  split_of = lambda path: path.relative_to(root).parts[0] if divided else None  # noqa: E731
  paths = folders.files_of(
    root,
    [".nii", ".nii.gz"],
    "NIfTI volumes",
    use=lambda path: split_of(path) in (None, *folders.SPLITS),
  )
  for path in paths:
    split = split_of(path)
    label = folders.label_of(root / split if divided else root, path)
    name = folders.safe_name(label)
    if folders.wanted(config, name):
      images, record = read_nifti(path)
      record["note"] = note_of(config)
      subject = folders.subject_of(config, path, label)
      yield Volume(name, subject=subject, target=images, split=split, record=record)


def read_file(path: pathlib.Path) -> Volume:
  """Reads one file, as `io.nifti.read_nifti`, as a volume named after it."""
  images, record = read_nifti(path)
  return Volume(path.name.split(".")[0], path.stem, images, record=record)


SOURCE = Source(
  volumes,
  unit=FILE,
  files="NIfTI (.nii, .nii.gz)",
  recognise=by_ending(".nii", ".nii.gz"),
  read=lambda path, config: read_file(path),
)
