"""Calgary-Campinas, multi-channel: raw k-space of 3-D T1-weighted brains."""

import math
import pathlib
from collections.abc import Iterator

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.folders import choose, files_of_parts, root_folder, subject_of
from kdmri_jax.data.measured import RawScan
from kdmri_jax.data.source import Scan, Source, holds
from kdmri_jax.data.sources.calgary_campinas import subject_in
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io.h5 import h5_dataset
from kdmri_jax.io.reading import reading
from kdmri_jax.physics import coils

ACQUIRED = 0.85
NOTE = (
  "Calgary-Campinas (Souza et al., NeuroImage 2018; Beauferris et al., Frontiers in "
  "Neuroscience 2022). The last 15% of the columns (slice encoding) were not acquired "
  "and are set to zero, as in its challenge."
)
_PARTS = {"Train": "train", "Val": "validation"}
_LAYOUT = (
  "the folders Train and Val of the 12-channel data; its test files are undersampled "
  "and hold no target"
)


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads the h5 files of ROOT/{Train,Val}, which are the split, or of ROOT itself.

  `kspace`, real, (256, 218, 170 to 180, 24): the first axis is the readout, already
  transformed, and becomes the slices; both others are phase-encoded, zero frequency in
  the middle, the origin of the image at [0, 0]; the last axis has the real and
  imaginary part of each of the 12 coils in turn. Columns from 85% on are set to zero.
  The target is the coils' root sum of squares. The subject is the examination, "e13991"
  of e13991s3_P01536.7.h5, or the file if its name has none.

  Raises:
    UserError: no file, or one that is damaged, undersampled or of another layout; a
      contrast other than "T1".
  """
  coils.chosen(config.combine, "rss")
  choose(config, "T1", ["T1"], root_folder(config))
  for path, split in files_of_parts(config, _PARTS, _LAYOUT):
    with reading(path), h5py.File(path) as file:
      yield _volume(config, _scan(path, file), split)


def _scan(path: pathlib.Path, file: h5py.File) -> RawScan:
  kspace = h5_dataset(file, "kspace")
  shape, is_real = kspace.shape, kspace.dtype.kind == "f"
  fits = len(shape) == 4 and 0 not in shape and shape[3] % 2 == 0
  if not is_real or not fits or shape[3] > min(shape[1:3]):
    found = f"'kspace' of type {kspace.dtype} and shape {shape}"
    expected = "real numbers (slices, rows, columns, 2 x coils)"
    raise UserError(path, found, f"{expected}, such as (256, 218, 170, 24)")
  acquired = math.ceil(ACQUIRED * shape[2])

  def read_slice(k):
    channels = kspace[k]
    channels[:, acquired:] = 0
    return np.moveaxis(channels.astype(np.float32).view(np.complex64), 2, 0)

  record = {"file": str(path)}
  details = {"file_shape": list(shape), "acquired_columns": [0, acquired], "note": NOTE}
  return RawScan(path, shape[0], read_slice, record, details, centred_image=False)


def _volume(config: DataConfig, scan: RawScan, split: str | None = None) -> Volume:
  way = coils.chosen(config.combine, "rss") or "rss"
  name = scan.path.stem
  scan.details["unit"], subject = subject_in(name)
  return scan.volume(name, subject_of(config, scan.path, subject), way, split)


def _has_real_kspace(file: h5py.File) -> bool:
  kspace = file.get("kspace")
  is_dataset = isinstance(kspace, h5py.Dataset)
  return is_dataset and kspace.ndim == 4 and kspace.dtype.kind == "f"


def read(path: pathlib.Path, config: DataConfig) -> Scan:
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
  with reading(path), h5py.File(path) as file:
    scan = _scan(path, file)
    return scan.measured(config) if scan.has_gaps() else _volume(config, scan)


SOURCE = Source(
  volumes,
  takes=("contrast", "combine"),
  files="Calgary-Campinas of several coils (.h5)",
  recognise=holds(_has_real_kspace),
  read=read,
)
