"""Calgary-Campinas: T1-weighted brains, as images and as k-space of combined coils."""

import pathlib
import re
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.contrast import choose
from kdmri_jax.data.folders import root_folder, subject_of, wanted
from kdmri_jax.data.measured import by_zeros, of_planes
from kdmri_jax.data.source import FILE, Scan, Source
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io.nifti import read_nifti
from kdmri_jax.io.numpy_files import read_npy
from kdmri_jax.io.reading import reading
from kdmri_jax.physics import coils

NOTE = "Calgary-Campinas (Souza et al., NeuroImage 2018), CC BY-ND 4.0."
KSPACE_NOTE = (
  f"{NOTE} Its single-channel k-space was computed from complex images into which the "
  "scanner's software had combined 12 coils: no coil measured it."
)

SIZE = 256

_IMAGE = re.compile(
  r"(?P<volume>(?P<subject>CC\d{4})_(?P<vendor>[a-z]+)_(?P<field>15|3)_(?P<age>\d+)_"
  r"(?P<sex>[FM]))\.nii(\.gz)?"
)
_ORIGINAL = re.compile(r"CC\d{4}_.+\.nii(\.gz)?", re.IGNORECASE)
_TESLA = {"15": 1.5, "3": 3.0}
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


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
  `examination`, or the file where its name tells none.

  Raises:
    UserError: neither kind of file or both, a damaged or undersampled file, another
      shape or type, another contrast than T1, or originals and `config.combine` other
      than "rss".
  """
  root = root_folder(config)
  choose(config, "T1", ["T1"], root)
  found = [(path, _IMAGE.fullmatch(path.name)) for path in sorted(root.rglob("CC*"))]
  images = [(path, name.groupdict()) for path, name in found if name and path.is_file()]
  kspaces = sorted(path for path in root.rglob("*.npy") if path.name[0] != ".")
  if bool(images) == bool(kspaces):
    raise _not_one_kind(root, *(path for path, _ in images[:1]), *kspaces[:1])
  if images and config.combine not in ("", "rss"):
    expected = "'rss' or '', because the originals are magnitude images"
    raise ArgumentError("combine", repr(config.combine), expected)
  for path, scan in images:
    if wanted(config, scan["volume"]):
      yield _from_nifti(config, path, scan)
  for path in kspaces:
    if wanted(config, path.stem):
      yield _from_kspace(config, root, path)


def examination(path: pathlib.Path) -> str | None:
  """The subject of a file of k-space: "e13991" of e13991s3_P01536.7.npy, else None."""
  match = re.match(r"(e\d+)s\d+_", path.name)
  return match and match[1]


def _not_one_kind(root: pathlib.Path, *examples: pathlib.Path) -> UserError:
  if examples:
    found = f"images and k-space ({' and '.join(path.name for path in examples)})"
    return UserError(root, found, "one of them", "Name the folder of either as root.")
  if next(root.rglob("*.h5"), None):
    found = "h5 files, which hold the k-space of several coils"
    expected = "NIfTI originals or single-channel *.npy"
    return UserError(root, found, expected, "Read them with the source calgary_multi.")
  found = "no file named like CC0001_philips_15_55_M.nii.gz and no *.npy in it or below"
  expected = "the NIfTI originals, or Train/*.npy and Val/*.npy"
  return UserError(root, found, expected, "Name the folder that holds them as root.")


def _from_nifti(config: DataConfig, path: pathlib.Path, scan: dict[str, str]) -> Volume:
  images, record = read_nifti(path)
  images = np.moveaxis(images, 0, 2)
  first, second, third = record["zooms"]
  record["zooms"] = [second, third, first]
  if towards := record.get("axes_increase_towards"):
    record["axes_increase_towards"] = {
      "rows": towards["columns"],
      "columns": towards["slices"],
      "slices": towards["rows"],
    }
  record |= {"vendor": scan["vendor"], "field_strength_tesla": _TESLA[scan["field"]]}
  record |= {"age": int(scan["age"]), "sex": scan["sex"], "note": NOTE}
  subject = subject_of(config, path, scan["subject"])
  return Volume(scan["volume"], subject=subject, target=images, record=record)


def _from_kspace(config: DataConfig, root: pathlib.Path, path: pathlib.Path) -> Volume:
  """Images in the units of the authors' code, which divides k-space by 256 first.

  `numpy.fft.ifft2` divides by 256 * 256 where the orthonormal transform divides by 256:
  the orthonormal k-space of the image is the stored one divided by 256 * 256.
  """
  combine = config.combine or "sense"
  kspace = read_kspace(path)
  slices = ((own[None], None) for own in kspace)
  target, record = coils.combine(slices, "", path, centred_image=False)
  if combine == "rss":
    target = np.abs(target)
  exam = examination(path)
  record |= {"file": str(path), "combine": combine}
  record |= {"file_shape": [*kspace.shape, 2], "kspace_divisor": SIZE**2}
  note = f"{KSPACE_NOTE} {record['note']}".strip()
  record |= {"simulated_kspace": True, "note": note}
  record |= {} if exam else {"unit": FILE}
  subject = subject_of(config, path, exam or path.stem)
  split = _split(path.relative_to(root))
  return Volume(path.stem, subject, target, split=split, record=record)


def read_kspace(path: pathlib.Path) -> np.ndarray:
  """Orthonormal k-space in the units of the images, complex64 [S, 256, 256], centred.

  Raises:
    UserError: the file is damaged or of another shape or type.
  """
  parts = read_npy(path)
  if parts.ndim != 4 or parts.shape[1:] != (SIZE, SIZE, 2) or parts.dtype.kind != "f":
    found = f"{parts.dtype} numbers of shape {parts.shape}"
    expected = f"real numbers (slices, {SIZE}, {SIZE}, 2), real and imaginary part"
    raise UserError(path, found, expected)
  kspace = np.empty(parts.shape[:3], np.complex64)
  kspace.real, kspace.imag = parts[..., 0], parts[..., 1]
  return np.fft.fftshift(kspace, axes=(1, 2)) / np.float32(SIZE**2)


def _split(relative: pathlib.Path) -> str | None:
  """The split of a folder: "validation" for Val, "train" for Train_part1."""
  words = (re.match("[a-z]*", part.lower())[0] for part in relative.parts[:-1])
  return next((_SPLITS[word] for word in words if word in _SPLITS), None)


def recognise(path: pathlib.Path) -> bool:
  """Whether a file is named like an original, or holds pairs of 256x256 numbers."""
  if _ORIGINAL.fullmatch(path.name):
    return True
  if path.suffix.lower() != ".npy" or not path.is_file():
    return False
  with reading(path):
    array = np.load(path, mmap_mode="r", allow_pickle=False)
  is_pair = array.ndim == 4 and array.shape[1:] == (SIZE, SIZE, 2)
  return is_pair and array.dtype.kind == "f"


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
  if path.suffix != ".npy":
    scan = _IMAGE.fullmatch(path.name)
    if scan is None:
      raise UserError(
        path, "another name", "the originals' own, CC0001_philips_15_55_M.nii.gz"
      )
    return _from_nifti(config, path, scan.groupdict())
  kspace = read_kspace(path)
  if not coils.missing_samples(kspace[len(kspace) // 2] != 0):
    return _from_kspace(config, path.parent, path)
  planes = by_zeros((own[None], None) for own in kspace)
  record = {"file": str(path), "note": KSPACE_NOTE}
  return of_planes(path, planes, record, centred_image=False)


SOURCE = Source(
  volumes, takes=("contrast", "combine"), recognise=recognise, read=read, axes=(0, 1, 2)
)
