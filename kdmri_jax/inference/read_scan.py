"""One scan to reconstruct: a file or folder in any format that a source reads."""

import dataclasses
import glob
import itertools
import pathlib
import re
from collections.abc import Iterator

from kdmri_jax.config import DataConfig
from kdmri_jax.data import measured_files
from kdmri_jax.data.folders import safe_name
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.sources import SOURCES, hammernik
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.inference import plain_scan, scan_format
from kdmri_jax.physics import coils

_ANY_SIZE = 2**40
_WITHOUT_FILES = ("phantom", "mni152")
_BOTH = ("contrast", "combine")
_WITHOUT_CHOICE = {
  scan_format.H5: _BOTH,
  scan_format.NPY: ("combine",),
  "kdmri": _BOTH,
  "nifti": _BOTH,
  "prepared": _BOTH,
}
# Their layout is one of folders; their files are told apart by what they hold.
_OF_FOLDERS = ("acdc", "mrbrains13", "mrbrains18", "ixi", "dicom")


def read(
  path: pathlib.Path,
  config: DataConfig,
  *,
  source: str = "",
  contrast: str = "",
  combine: str = "",
  name: str = "",
) -> Volume | Measured:
  """Reads what is to be reconstructed.

  Args:
    path: a file, or a folder.
    config: the data settings of the run, of which the acceleration tag and, for its
      own source, contrast and combine are used where nothing else is said.
    source: the data source that reads it; "" tells it, see `formats.source_of`.
    contrast, combine: as the settings of these names; for .cfl and complex .npy
      "kspace" or "image".
    name: of the volume, where a file or folder holds several.

  Returns:
    Fully sampled images as stored, not checked yet, or undersampled k-space.

  Raises:
    UserError: it cannot be read, holds several volumes, or fits several sources.
  """
  path = path.expanduser()
  source = source or scan_format.source_of(path)
  if not path.exists():
    raise UserError(path, "no such file", scan_format.KNOWN, "Correct the path.")
  _refuse_unused(path, source, contrast=contrast, combine=combine)
  own = source == config.source
  settings = dataclasses.replace(
    config,
    source=source,
    include=(),
    subject_pattern="",
    memory_mb=_ANY_SIZE,
    contrast=contrast or (config.contrast if own else ""),
    combine=combine or (config.combine if own else ""),
  )
  try:
    if path.is_file():
      return _of_file(path, settings, name)
    if _is_knee(path, source):
      return _of_knee(path, settings)
    return _of_source(path, path, settings, name)
  except UserError as error:
    raise _in_own_words(error) from error


def _of_file(path, settings: DataConfig, name: str) -> Volume | Measured:
  source = settings.source
  if source in (scan_format.H5, "kdmri", "prepared"):
    return plain_scan.read_h5(path, settings.acceleration_tag)
  if source == scan_format.NPY:
    return plain_scan.read_npy(path, settings.contrast)
  if source == "nifti":
    return plain_scan.read_images(path)
  if source == "hammernik":
    return _of_knee(path, settings)
  path = path.with_suffix(".cfl") if source == "bart" else path
  measured = _undersampled(path, settings)
  return measured or _of_source(path, path.parent, settings, name)


def _is_knee(path, source: str) -> bool:
  return source == "hammernik" and any(path.glob("rawdata*.mat"))


def _of_knee(path, settings: DataConfig) -> Volume | Measured:
  """Files rawdata<k>.mat of a folder, or one of them, whatever the folder is called."""
  if measured := _undersampled(path, settings):
    return measured
  folder, numbers = path if path.is_dir() else path.parent, hammernik.numbers_of(path)
  way = coils.chosen(settings, "rss", "sense") or "rss"
  images, record = hammernik.read_folder(folder, numbers, way)
  return Volume(path.stem, path.stem, images, record=record)


def _refuse_unused(path, source: str, **settings: str) -> None:
  """Refuses settings that would not change what is read."""
  unused = _WITHOUT_CHOICE.get(source, ())
  if _is_knee(path, source) or path.suffix == ".mat":
    unused = ("contrast",)
  for name, value in settings.items():
    if value and name in unused:
      raise UserError(
        f"--{name}",
        repr(value),
        f"none, because {path.name} leaves no choice of it",
        f"Leave --{name} out.",
      )


def _undersampled(path, settings: DataConfig) -> Measured | None:
  reader = measured_files.READERS.get(settings.source)
  return reader(path, settings) if reader else None


def _of_source(path, root, settings: DataConfig, name: str) -> Volume | Measured:
  """What a source makes of a file, or of a folder."""
  source, is_file = settings.source, path.is_file()
  if source not in SOURCES or source in _WITHOUT_FILES:
    names = ", ".join(key for key in SOURCES if key not in _WITHOUT_FILES)
    raise UserError("--source", repr(source), f"one of {names}", "Correct the name.")
  if is_file and source in _OF_FOLDERS:
    raise UserError(
      path,
      f"one file of {source}",
      "the folder that this source reads",
      "Name the folder and, with --volume, one of its volumes; or leave --source out.",
    )
  include = (glob.escape(name),) if name else ()
  wanted = str(path) if is_file else ""
  if is_file and not name:
    stem, _ = scan_format.split_name(path)
    include = tuple({glob.escape(stem), glob.escape(safe_name(stem))})
    if source == "npz":
      include += tuple(f"{name}_*" for name in include)
  # Subjects do not matter here, and files without PatientID are welcome.
  pattern = "[^/]+" if source == "dicom" else ""
  settings = dataclasses.replace(
    settings, root=str(root), include=include, subject_pattern=pattern
  )
  volumes = SOURCES[source](settings)
  if wanted:
    volumes = (v for v in volumes if v.record["file"] == wanted)
  volume = _only(path, volumes, source, name)
  if volume.kspace is not None:
    return Measured(volume.kspace, None, volume.record, volume.header)
  return volume


def _only(path, volumes: Iterator[Volume], source: str, name: str) -> Volume:
  volume = next(volumes, None)
  if volume is None:
    raise UserError(
      path,
      f"no volume {name!r}" if name else f"nothing that {source} reads there",
      "a volume of this source",
      "Correct --volume." if name else "Correct --source or --input.",
    )
  others = [other.name for other in itertools.islice(volumes, 4)]
  if others:
    raise UserError(
      path,
      f"several volumes ({', '.join([volume.name, *others])}"
      f"{' and perhaps more' if len(others) == 4 else ''})",
      "one",
      "Choose one with --volume=NAME (a DICOM series also with --contrast=NUMBER).",
    )
  return volume


def _in_own_words(error: UserError) -> UserError:
  """Names the flags of a reconstruction in place of the settings of an experiment."""
  where = re.sub(r"^data\.(contrast|combine)$", r"--\1", str(error.where))
  remedy = re.sub(r"--config\.data\.(contrast|combine|source)", r"--\1", error.remedy)
  remedy = remedy.replace("--config.data.root", "--input")
  return UserError(where, error.found, error.expected, remedy)
