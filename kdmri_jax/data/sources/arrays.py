"""Files of arrays without a data set's layout: NIfTI, npz, npy and h5."""

import pathlib
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import folders
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.source import FILE, SUBJECT, Scan, Source, by_ending, note_of, only
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import h5, layout
from kdmri_jax.io.nifti import ENDINGS, is_pair, read_nifti
from kdmri_jax.io.numpy_files import read_npy, read_npz
from kdmri_jax.io.reading import refuse_missing, split_name


def nifti_volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every *.nii and *.nii.gz below the root, in the order of their paths.

  With `config.repeats` the fourth dimension of a file holds repeated acquisitions.

  Where the root has folders `train` and `validation` (and perhaps `test`), only these
  are read and they are the split. A volume is named after its path. Each file counts as
  a subject of the same name, unless `config.subject_pattern` finds another.

  Raises:
    UserError: no file, a damaged one, or one that is not three-dimensional.
  """
  found = folders.divided_files(config, ENDINGS, "NIfTI volumes")
  for path, name, subject, split in found:
    images, record = read_nifti(path, repeated=config.repeats > 0)
    record["note"] = note_of(config)
    yield Volume(name, subject, images, split=split, record=record)


def npz_volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads every *.npz below the root, in the order of their paths.

  `image` [S, H, W] holds the slices, real or complex; `input`, if there, the images to
  be measured in place of them; `subject` [S], numbers or text, is the subject of each
  slice, with the same meaning in all files. The slices of one subject become one
  volume, named "FILE_SUBJECT", where numbers are padded with zeros to equal length; a
  file without `subject` is one volume and one subject, both named after its path.

  Raises:
    UserError: no file, a damaged one, a missing or empty `image`, a `subject` that does
      not name each slice, or two subjects that would give volumes of one name.
  """
  root = folders.root_folder(config)
  for path in folders.files_of(root, [".npz"], "NumPy archives with the array `image`"):
    yield from _npz_volumes(config, path, folders.label_of(root, path))


def _npz_volumes(config, path: pathlib.Path, label: str) -> Iterator[Volume]:
  images, subjects, inputs = read_npz(path)
  record = {"file": str(path), "file_shape": list(images.shape)}
  if subjects is None:
    name = folders.safe_name(label)
    if folders.wanted(config, name):
      subject = folders.subject_of(config, path, label)
      yield Volume(name, subject, images, record=record, input=inputs)
    return
  for name, subject in _names(path, label, subjects).items():
    rows = np.flatnonzero(subjects == subject)
    own = {"unit": SUBJECT, "file_slices": rows.tolist()}
    given = None if inputs is None else inputs[rows]
    yield Volume(name, subject, images[rows], record=record | own, input=given)


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


def read_images(path: pathlib.Path) -> Volume:
  """Reads fully sampled images from NIfTI, NumPy archives or h5.

  Args:
    path: .nii, .nii.gz, .npz with "image", or .h5 with one of `io.h5.IMAGE_KEYS`.

  Returns:
    The volume as stored; its record names the file.

  Raises:
    UserError: no such file, another type of file, a damaged one, or none of the keys.
  """
  refuse_missing(path)
  if not path.is_file():
    raise UserError(path, "no such file", "an image or k-space file")
  _, ending = split_name(path)
  if ending in ENDINGS or is_pair(path):
    images, record = read_nifti(path)
    return Volume(path.name.split(".")[0], path.stem, images, record=record)
  record = {"file": str(path)}
  if ending == ".npz":
    images, _, inputs = read_npz(path)
    return Volume(path.stem, path.stem, images, record=record, input=inputs)
  images, record["key"], header = h5.read_images(path)
  given = h5.read_input(path) if record["key"] == "target" else None
  return Volume(path.stem, path.stem, images, record=record, header=header, input=given)


def read_scan_h5(path: pathlib.Path, config: DataConfig) -> Scan:
  """Undersampled k-space of an h5 file, or its images if it has no k-space.

  Args:
    path: see `io.h5.read_kspace` and `io.h5.read_images`.
    config: its `acceleration_tag` selects the k-space from several.

  Raises:
    UserError: the file holds neither, or is damaged.
  """
  kspace = h5.read_kspace(path, config.acceleration_tag)
  if kspace is None:
    return read_images(path)
  return Measured(kspace, None, {"file": str(path)})


def read_scan_npy(path: pathlib.Path, config: DataConfig) -> Scan:
  """One array of images or undersampled k-space.

  Args:
    path: the file, [S, H, W] or [H, W].
    config: its `contrast` is "kspace" or "image"; "" for real numbers, which are an
      image.

  Raises:
    ArgumentError: another `contrast`, or none for complex numbers.
    UserError: a damaged file, k-space that is not complex or finite, or another
      layout, such as real and imaginary part in the last axis.
  """
  array = read_npy(path)
  array = array[None] if array.ndim == 2 else array
  expected = "'kspace' (zero frequency at [0, 0]) or 'image'"
  if config.contrast not in ("", "kspace", "image"):
    raise ArgumentError("contrast", repr(config.contrast), f"{expected} for .npy")
  if array.dtype.kind == "c" and not config.contrast:
    found = f"'' for {path}: complex numbers, which may be k-space or images"
    raise ArgumentError("contrast", found, expected)
  if config.contrast == "kspace":
    kspace = h5.checked_kspace(path, "an array", array)
    return Measured(kspace, None, {"file": str(path)})
  layout.refuse_pairs(path, "an array", array)
  layout.refuse_transposed(path, "an array", array.shape)
  return Volume(path.stem, path.stem, array, record={"file": str(path)})


NIFTI = Source(
  nifti_volumes,
  takes=("repeats",),
  unit=FILE,
  files="NIfTI (.nii, .nii.gz)",
  recognise=lambda path: by_ending(*ENDINGS)(path) or is_pair(path),
  read=lambda path, config: read_images(path),
)
NPZ = Source(
  npz_volumes,
  unit=FILE,
  files=".npz",
  recognise=by_ending(".npz"),
  read=lambda path, config: only(path, _npz_volumes(config, path, path.stem), config),
)
H5 = Source(None, files="h5", recognise=by_ending(*h5.ENDINGS), read=read_scan_h5)
NPY = Source(
  None,
  takes=("contrast",),
  files=".npy",
  recognise=by_ending(".npy"),
  read=read_scan_npy,
)
