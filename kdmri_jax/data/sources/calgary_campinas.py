"""Calgary-Campinas: T1-weighted brains, as images and as k-space of one or 12 coils."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Iterator

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import folders
from kdmri_jax.data.measured import RawScan
from kdmri_jax.data.source import FILE, SUBJECT, Scan, Source, holds
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import h5, walk
from kdmri_jax.io.h5 import h5_dataset, opened
from kdmri_jax.io.nifti import ENDINGS, read_nifti
from kdmri_jax.io.numpy_files import read_npy
from kdmri_jax.io.reading import reading
from kdmri_jax.physics.coils import combination

NOTE = "Calgary-Campinas (Souza et al., NeuroImage 2018), CC BY-ND 4.0."
KSPACE_NOTE = (
  f"{NOTE} Its single-channel k-space was computed from complex images into which the "
  "scanner's software had combined 12 coils: no coil measured it."
)

SIZE = 256

_IMAGE = re.compile(
  r"(?P<volume>(?P<subject>CC\d{4})_(?P<vendor>[a-z]+)_(?P<field>15|3)_(?P<age>\d+)_"
  r"(?P<sex>[FM]))(?i:\.nii(\.gz)?)"
)
_SCAN = re.compile(r"(e\d+)s\d+_")
_ORIGINAL = re.compile(r"CC\d{4}_.+\.nii(\.gz)?", re.IGNORECASE)
_TESLA = {"15": 1.5, "3": 3.0}
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
ACQUIRED = 0.85
MULTI_NOTE = (
  "Calgary-Campinas (Souza et al., NeuroImage 2018; Beauferris et al., Frontiers in "
  "Neuroscience 2022). The last 15% of the columns (slice encoding) were not acquired "
  "and are set to zero, as in its challenge."
)
_MULTI_PARTS = {"Train": "train", "Val": "validation"}
_MULTI_LAYOUT = (
  "the folders Train and Val of the 12-channel data; its test files are undersampled "
  "and hold no target"
)


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the NIfTI originals, or the single-channel k-space, whichever the root holds.

  Originals are named like CC0001_philips_15_55_M.nii.gz: subject, vendor, field
  strength in tenths of a tesla (or 3), age and sex; masks have other names and are
  ignored. Their first axis holds the sagittal slices, the second the rows, the third
  the columns.

  K-space is in Train/*.npy and Val/*.npy, real numbers [S, 256, 256, 2] (real and
  imaginary part), zero frequency at [0, 0]; the readout is already transformed and both
  axes of a slice are phase-encoded. The folders are the split. The target is the
  complex image or, with `config.combine` "rss", its magnitude. The subject is the
  examination, "e13991" of e13991s3_P01536.7.npy, or the file if its name has none.

  Raises:
    UserError: neither kind of file or both, a damaged or undersampled file, another
      shape or type, another contrast than T1, or originals and `config.combine` other
      than "rss".
  """
  root = folders.root_folder(config)
  folders.choose(config, "T1", ["T1"], root)
  paths = walk.files(root, ENDINGS)
  images = {path: name for path in paths if (name := _IMAGE.fullmatch(path.name))}
  kspaces = walk.files(root, [".npy"])
  if bool(images) == bool(kspaces):
    raise _not_one_kind(root, *[*images][:1], *kspaces[:1])
  if images and config.combine not in ("", "rss"):
    expected = "'rss' or '', because the originals are magnitude images"
    raise ArgumentError("combine", repr(config.combine), expected)
  for path, name in images.items():
    if folders.wanted(config, name["volume"]):
      yield _from_nifti(config, path, name)
  for path in kspaces:
    if folders.wanted(config, path.stem):
      split = _split(path.relative_to(root))
      yield _from_kspace(config, _scan(path), split)


def _not_one_kind(root: pathlib.Path, *examples: pathlib.Path) -> UserError:
  if examples:
    found = f"images and k-space ({' and '.join(path.name for path in examples)})"
    return UserError(root, found, "one of them", "Name the folder of either as root.")
  if walk.files(root, h5.ENDINGS):
    found = "h5 files, which hold the k-space of several coils"
    expected = "NIfTI originals or single-channel *.npy"
    return UserError(root, found, expected, "Read them with the source calgary_multi.")
  what = "file named like CC0001_philips_15_55_M.nii.gz and no *.npy in it or below"
  return folders.not_there(root, what, "the originals, or Train/*.npy and Val/*.npy")


def _from_nifti(config: DataConfig, path: pathlib.Path, name: re.Match) -> Volume:
  images, record = read_nifti(path)
  order = (1, 2, 0)  # the file's axes that are rows, columns and slices
  record["zooms"] = [record["zooms"][axis] for axis in order]
  if towards := record.get("axes_increase_towards"):
    letters = [list(towards.values())[axis] for axis in order]
    record["axes_increase_towards"] = dict(zip(towards, letters, strict=True))
    record["affine"] = [[row[axis] for axis in (*order, 3)] for row in record["affine"]]
  record |= {"vendor": name["vendor"], "field_strength_tesla": _TESLA[name["field"]]}
  record |= {"age": int(name["age"]), "sex": name["sex"], "note": NOTE}
  subject = folders.subject_of(config, path, name["subject"])
  return Volume(name["volume"], subject, np.moveaxis(images, 0, 2), record=record)


def _scan(path: pathlib.Path) -> RawScan:
  """K-space in the units of the authors' code, which divides it by 256 first.

  `numpy.fft.ifft2` divides by 256 * 256 where the orthonormal transform divides by 256:
  the orthonormal k-space of the image is the stored one divided by 256 * 256.
  """
  parts = read_npy(path)
  if not _is_pairs(parts):
    found = f"{parts.dtype} numbers of shape {parts.shape}"
    expected = f"real numbers (slices, {SIZE}, {SIZE}, 2), real and imaginary part"
    raise UserError(path, found, expected)
  kspace = np.empty(parts.shape[:3], np.complex64)
  kspace.real, kspace.imag = parts[..., 0], parts[..., 1]
  kspace = np.fft.fftshift(kspace, axes=(1, 2)) / np.float32(SIZE**2)
  read_slice = kspace[:, None].__getitem__
  record = {"file": str(path), "note": KSPACE_NOTE}
  details = {"file_shape": list(parts.shape), "kspace_divisor": SIZE**2}
  return RawScan(path, len(kspace), read_slice, record, details, centred_image=False)


def _from_kspace(config: DataConfig, scan: RawScan, split: str | None = None) -> Volume:
  volume = _volume(config, scan, "", split)
  combine = combination.chosen(config.combine, "rss", "sense") or "sense"
  record = volume.record | {"simulated_kspace": True, "combine": combine}
  target = np.abs(volume.target) if combine == "rss" else volume.target
  return dataclasses.replace(volume, target=target, record=record)


def _volume(config: DataConfig, scan: RawScan, way: str, split: str | None) -> Volume:
  """The volume of k-space; e13991s3_P01536.7 names a scan of the subject e13991."""
  name = scan.path.stem
  match = _SCAN.match(name)
  subject = folders.subject_of(config, scan.path, match[1] if match else name)
  volume = scan.volume(name, subject, way, split, config.sensitivities)
  volume.record["unit"] = SUBJECT if match else FILE
  return volume


def _split(relative: pathlib.Path) -> str | None:
  """The split of a folder: "validation" for Val, "train" for Train_part1."""
  words = (re.match("[a-z]*", part.lower())[0] for part in relative.parts[:-1])
  return next((_SPLITS[word] for word in words if word in _SPLITS), None)


def recognise(path: pathlib.Path) -> bool:
  """Whether a file is named like an original, or as k-space and holds it."""
  if _ORIGINAL.fullmatch(path.name):
    return True
  if path.suffix.lower() != ".npy" or not path.is_file():
    return False
  if not _SCAN.match(path.name):
    return False  # any image or k-space of 256x256 may have this shape
  with reading(path):
    return _is_pairs(np.load(path, mmap_mode="r", allow_pickle=False))


def _is_pairs(array: np.ndarray) -> bool:
  is_real = array.dtype.kind == "f"
  return is_real and array.ndim == 4 and array.shape[1:] == (SIZE, SIZE, 2)


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads an original, or a single-channel file, which may be undersampled.

  Points that are exactly zero were not sampled; the middle slice shows whether these
  are more than a border.

  Args:
    path: the file.
    config: the data settings.

  Raises:
    UserError: a damaged file, another shape, or slices with different masks.
  """
  if path.suffix.lower() != ".npy":
    name = _IMAGE.fullmatch(path.name)
    if name is None:
      expected = "the originals' own, CC0001_philips_15_55_M.nii.gz"
      raise UserError(path, "another name", expected)
    return _from_nifti(config, path, name)
  scan = _scan(path)
  return scan.measured(config) if scan.has_gaps() else _from_kspace(config, scan)


def multi_volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the h5 files of ROOT/{Train,Val}, which are the split, or of ROOT itself.

  `kspace`, real, (256, 218, 170 to 180, 24): the first axis is the readout, already
  transformed, and becomes the slices; both others are phase-encoded, zero frequency in
  the middle, the origin of the image at [0, 0]; the last axis has the real and
  imaginary part of each of the 12 coils in turn. Columns from 85% on are set to zero.
  The target is the coils' root sum of squares, with `config.combine` "none" their
  combination by sensitivities, beside their k-space. The subject is the examination,
  "e13991" of e13991s3_P01536.7.h5, or the file if its name has none.

  Raises:
    UserError: no file, or one that is damaged, undersampled or of another layout; a
      contrast other than "T1".
  """
  way = combination.chosen(config.combine, "rss", "none") or "rss"
  folders.choose(config, "T1", ["T1"], folders.root_folder(config))
  for path, split in folders.files_of_parts(config, _MULTI_PARTS, _MULTI_LAYOUT):
    with opened(path) as file:
      volume = _volume(config, _multi_scan(path, file), way, split)
    yield volume


def _multi_scan(path: pathlib.Path, file: h5py.File) -> RawScan:
  kspace = h5_dataset(file, "kspace")
  shape = kspace.shape
  if not _is_of_coils(kspace):
    found = f"'kspace' of type {kspace.dtype} and shape {shape}"
    remedy = ""
    if len(shape) == 4 and shape[3] == 2:
      found += ", whose last axis fits the real and imaginary part of one coil"
      remedy = "Store one coil as complex numbers, in the layout of fastmri."
    expected = "real numbers (slices, rows, columns, 2 x coils)"
    raise UserError(path, found, f"{expected}, such as (256, 218, 170, 24)", remedy)
  acquired = [0, math.ceil(ACQUIRED * shape[2])]

  def read_slice(k):
    channels = kspace[k]
    channels[:, acquired[1] :] = 0
    return np.moveaxis(channels.astype(np.float32).view(np.complex64), 2, 0)

  record = {"file": str(path)}
  details = {"file_shape": list(shape), "acquired_columns": acquired}
  details["note"] = MULTI_NOTE
  return RawScan(path, shape[0], read_slice, record, details, centred_image=False)


def _is_of_coils(kspace: h5py.Dataset) -> bool:
  """Whether it has the real and imaginary parts of several coils in its last axis."""
  shape = kspace.shape
  if kspace.dtype.kind != "f" or len(shape) != 4 or 0 in shape or shape[3] % 2:
    return False
  return 4 <= shape[3] <= min(shape[1:3])


def _is_multi(file: h5py.File) -> bool:
  """Whether a file has such k-space, and the data set's name or size of slices."""
  kspace = file.get("kspace")
  if not isinstance(kspace, h5py.Dataset) or not _is_of_coils(kspace):
    return False
  rows, columns = kspace.shape[1:3]
  name = pathlib.Path(file.filename).name
  return bool(_SCAN.match(name)) or (rows == 218 and 170 <= columns <= 180)


def read_multi(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads a file that may be undersampled, as the challenge's test files are.

  Points that are exactly zero in all coils were not sampled; the middle slice shows
  whether these are more than a border. The last 15% of the columns are set to zero.

  Args:
    path: the h5 file.
    config: its `combine` is "sense" for undersampled k-space of several coils, see
      `data.measured.RawScan`.

  Raises:
    UserError: a damaged file or one of another layout, slices that were sampled
      differently, or several coils without sensitivities.
  """
  with opened(path) as file:
    scan = _multi_scan(path, file)
    if scan.has_gaps():
      return scan.measured(config)
    way = combination.chosen(config.combine, "rss", "none") or "rss"
    return _volume(config, scan, way, None)


SINGLE = Source(
  volumes, takes=("contrast", "combine"), recognise=recognise, read=read, axes=(0, 1, 2)
)
MULTI = Source(
  multi_volumes,
  takes=("contrast", "combine"),
  files="Calgary-Campinas of several coils (.h5)",
  recognise=holds(_is_multi),
  read=read_multi,
)
