"""The MRBrainS challenges of 2013 and 2018: brains of people over 50 at 3 T."""

import pathlib
import re
from collections.abc import Iterator

from kdmri_jax.config import DataConfig
from kdmri_jax.data import folders
from kdmri_jax.data.source import Source, no_single_file
from kdmri_jax.data.volume import Volume
from kdmri_jax.io import walk
from kdmri_jax.io.nifti import ENDINGS, read_nifti
from kdmri_jax.io.reading import split_name

NOTE_13 = (
  "MRBrainS13 (Mendrik et al., Computational Intelligence and Neuroscience 2015; "
  "DataverseNL, doi 10.34894/645ZIN), under the terms stated there."
)
NOTE_18 = (
  "MRBrainS18 (MICCAI 2018, UMC Utrecht; DataverseNL, doi 10.34894/E0U32Q), under the "
  "terms stated there."
)

_LABELS = re.compile("label|mask|roi|segm", re.IGNORECASE)


def volumes_13(config: DataConfig) -> Iterator[Volume]:
  """Reads one image of each subject of MRBrainS13, `T1` by default.

  The root holds `TrainingData` (subjects "1" to "5") and perhaps `TestData` (subjects
  "test_1" to "test_15", other people), or is one of them. A subject's folder holds
  T1.nii, T1_IR.nii, T2_FLAIR.nii, T1_1mm.nii and segmentations, which are not images.

  Raises:
    UserError: no subject's folder, a subject without that image, or a damaged file.
  """
  groups = {"TrainingData": "", "TestData": "test_"}
  return _volumes(config, groups, "T1", _niftis, NOTE_13)


def volumes_18(config: DataConfig) -> Iterator[Volume]:
  """Reads one image of each subject of MRBrainS18, `reg_T1` by default.

  The root holds `training` (subjects "1", "4", "5", "7", "14", "070", "148") and
  perhaps `test`, or is one of them. `N/pre` holds the images after a correction of the
  bias field, reg_T1.nii.gz, reg_IR.nii.gz, FLAIR.nii.gz, and images that are not
  registered; `N/orig` the images before the correction, called "orig/reg_T1" here.

  Raises:
    UserError: no subject's folder, a subject without that image, or a damaged file.
  """
  groups = {"training": "", "test": ""}
  return _volumes(config, groups, "reg_T1", _corrected_first, NOTE_18)


def _volumes(config, groups, usual, images_of, note) -> Iterator[Volume]:
  """One image of each subject, chosen among the `images_of` its folder.

  `groups` gives for each folder of subjects what precedes their numbers in names.
  """
  for group, folder in _subjects(folders.root_folder(config), groups):
    label = groups.get(group, "") + folder.name
    name = f"{label}_{folders.safe_name(config.contrast or usual)}"
    if not folders.wanted(config, name):
      continue
    available = images_of(folder)
    contrast = folders.choose(config, usual, available, folder)
    path = available[contrast]
    images, record = read_nifti(path)
    record |= {"contrast": contrast, "folder": group, "note": note}
    subject = folders.subject_of(config, path, label)
    yield Volume(name, subject=subject, target=images, record=record)


def _subjects(root: pathlib.Path, groups) -> list[tuple[str, pathlib.Path]]:
  """Group and numbered folder, in the groups or in the root where it has no group."""
  found = {name: root / name for name in groups if walk.is_folder(root / name)}
  own = root.name if root.name in groups else root.resolve().name
  subjects = [
    (name, path)
    for name, group in (found or {own: root}).items()
    for path in sorted(walk.folders(group), key=lambda path: len(path.name))
    if path.name.isdecimal()
  ]
  if not subjects:
    what = f"numbered folder of a subject {folders.folders_in(root)}"
    layout = f"the official layout, {next(iter(groups))}/1 and so on"
    raise folders.not_there(root, what, layout)
  return subjects


def _niftis(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """The images of a folder by name, without segmentations and masks."""
  files = walk.files(folder, ENDINGS, below=False)
  paths = {split_name(path)[0]: path for path in files}
  return {name: path for name, path in paths.items() if not _LABELS.search(name)}


def _corrected_first(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  original = _niftis(folder / "orig")
  return _niftis(folder / "pre") | {f"orig/{name}": p for name, p in original.items()}


MRBRAINS_13 = Source(volumes_13, takes=("contrast",), read=no_single_file)
MRBRAINS_18 = Source(volumes_18, takes=("contrast",), read=no_single_file)
