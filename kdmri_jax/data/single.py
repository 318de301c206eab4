"""One scan to reconstruct: a file or folder in any format that a source reads."""

import dataclasses
import glob
import itertools
import pathlib
import re
from collections.abc import Iterator

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import formats, header, undersampled_files
from kdmri_jax.data.files import h5_array, reading, safe_name
from kdmri_jax.data.sources import SOURCES
from kdmri_jax.data.sources.nifti import read_nifti
from kdmri_jax.data.sources.npz import read_npz
from kdmri_jax.data.undersampled import Measured
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError

IMAGE_KEYS = ("target", "volfs", "reconstruction_rss", "reconstruction_esc")

_ANY_SIZE = 2**40
_WITHOUT_FILES = ("phantom", "mni152")
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
  source = source or formats.source_of(path)
  if not path.exists():
    raise UserError(path, "no such file", formats.KNOWN, "Correct the path.")
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
    is_knee = source == "hammernik" and any(path.glob("rawdata*.mat"))
    measured = _undersampled(path, settings) if is_knee else None
    return measured or _of_source(path, path, settings, name)
  except UserError as error:
    raise _in_own_words(error) from error


def read_images(path: pathlib.Path) -> Volume:
  """Reads fully sampled images from NIfTI, NumPy archives or h5.

  Args:
    path: .nii, .nii.gz, .npz with "image", or .h5 with one of `IMAGE_KEYS`; (slices,
      rows, columns), but "volfs", as in the published code, (rows, columns, slices).

  Returns:
    The volume as stored; its record says which file it was.

  Raises:
    UserError: another type of file, a damaged one, or none of the keys.
  """
  if path.name.endswith((".nii", ".nii.gz")):
    images, record = read_nifti(path)
    record["source"] = "nifti"
    return Volume(path.name.split(".")[0], path.stem, images, record=record)
  record = {"file": str(path)}
  if path.suffix == ".npz" and path.is_file():
    images, _ = read_npz(path)
    return Volume(path.stem, path.stem, images, record=record | {"source": "npz"})
  with _opened(path) as file:
    key = _first_key(file, IMAGE_KEYS)
    with reading(path):
      images = h5_array(file, key)
      kept = header.read(file.get("header"), path)
  if key == "volfs":
    images = np.moveaxis(np.atleast_3d(images), 2, 0)
  record |= {"source": formats.H5, "key": key}
  return Volume(path.stem, path.stem, images, record=record, header=kept)


def read_kspace(path: pathlib.Path, tag: str) -> np.ndarray | None:
  """Reads undersampled k-space from h5, or None where the file has none.

  Args:
    path: .h5 with "kspace" (slices, rows, columns) or, as in the published code,
      "kspace_volus_*" (rows, columns, slices); zero frequency at [0, 0].
    tag: suffix of the one to take of several "kspace_volus_*", such as "4x".

  Returns:
    complex64 [S, H, W].

  Raises:
    UserError: a damaged file, several "kspace_volus_*" of other tags, real numbers,
      NaN, or another number of dimensions.
  """
  with _opened(path) as file:
    key = _kspace_key(file, tag)
    if not key:
      return None
    with reading(path):
      kspace = h5_array(file, key)
  if key != "kspace":
    kspace = np.moveaxis(np.atleast_3d(kspace), 2, 0)
  return _checked(path, key, kspace)


def _of_file(path, settings: DataConfig, name: str) -> Volume | Measured:
  source = settings.source
  if source in (formats.H5, "kdmri", "prepared"):
    return _of_h5(path, settings.acceleration_tag)
  if source == formats.NPY:
    return _of_npy(path, settings.contrast)
  if source == "nifti":
    return read_images(path)
  path = path.with_suffix(".cfl") if source == "bart" else path
  measured = _undersampled(path, settings)
  return measured or _of_source(path, path.parent, settings, name)


def _undersampled(path, settings: DataConfig) -> Measured | None:
  reader = undersampled_files.READERS.get(settings.source)
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
  if source == "hammernik" and (is_file or any(path.glob("rawdata*.mat"))):
    subject = (path.parent if is_file else path).resolve()
    root, wanted = subject.parent, str(subject)
    number = int(subject.name) if subject.name.isdecimal() else 0
    include = (f"*_{number:02d}",)
  elif is_file and not name:
    stem, _ = formats.split_name(path)
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
  match = re.fullmatch(r"rawdata(\d+)\.mat", path.name) if is_file else None
  if match and source == "hammernik":
    place = volume.record["file_slices"].index(int(match[1]))
    volume = dataclasses.replace(volume, target=volume.target[place : place + 1])
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


def _of_h5(path, tag: str) -> Volume | Measured:
  kspace = read_kspace(path, tag)
  if kspace is None:
    return read_images(path)
  return Measured(kspace, None, {"file": str(path), "source": formats.H5})


def _of_npy(path, contrast: str) -> Volume | Measured:
  with reading(path):
    array = np.load(path, allow_pickle=False)
  record = {"file": str(path), "source": formats.NPY}
  array = array[None] if array.ndim == 2 else array
  if array.dtype.kind == "c" and contrast not in ("kspace", "image"):
    raise UserError(
      path,
      "complex numbers, which may be k-space or images",
      "--contrast=kspace (zero frequency at [0, 0]) or --contrast=image",
      "Add one of the two.",
    )
  if contrast == "kspace":
    return Measured(_checked(path, "an array", array), None, record)
  return Volume(path.stem, path.stem, array, record=record)


def _checked(path, key, kspace) -> np.ndarray:
  if kspace.ndim != 3 or kspace.dtype.kind != "c" or not np.isfinite(kspace).all():
    raise UserError(
      path,
      f"{key} of type {kspace.dtype} and shape {kspace.shape}, or with NaN",
      "finite complex numbers (slices, rows, columns)",
      "Store single-coil k-space, zero frequency at [0, 0].",
    )
  return kspace.astype(np.complex64)


def _opened(path: pathlib.Path):
  if not path.is_file():
    raise UserError(
      path, "no such file", "an image or k-space file", "Correct the path."
    )
  with reading(path):
    return h5py.File(path)


def _kspace_key(file: h5py.File, tag: str) -> str | None:
  tagged = [key for key in file if key.startswith("kspace_volus_")]
  for key in ("kspace", f"kspace_volus_{tag}"):
    if key in file:
      return key
  if len(tagged) > 1:
    raise UserError(
      file.filename,
      f"several k-spaces, {', '.join(tagged)}",
      f"one of them, or kspace_volus_{tag} as data.acceleration_tag of the run says",
      "Leave one in the file, or use a run of its acceleration.",
    )
  return tagged[0] if tagged else None


def _first_key(file: h5py.File, keys) -> str:
  for key in keys:
    if key in file:
      return key
  raise UserError(
    file.filename,
    f"the keys {', '.join(file) or 'none'}",
    f"one of {', '.join(keys)}, or k-space",
    "Store the images under one of these keys.",
  )


def _in_own_words(error: UserError) -> UserError:
  """Names the flags of a reconstruction in place of the settings of an experiment."""
  where = re.sub(r"^data\.(contrast|combine)$", r"--\1", str(error.where))
  remedy = re.sub(r"--config\.data\.(contrast|combine|source)", r"--\1", error.remedy)
  remedy = remedy.replace("--config.data.root", "--input")
  return UserError(where, error.found, error.expected, remedy)
