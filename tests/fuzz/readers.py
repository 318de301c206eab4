"""The readers to be fuzzed: small files of each format, and the ways to read them."""

import dataclasses
import hashlib
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from fuzz import files, runs
from helpers.data_files import BASE, EVEN_ROWS, all_sampled, config, measured_by

from kdmri_jax import config as config_lib
from kdmri_jax import interop
from kdmri_jax.data import load, spool
from kdmri_jax.errors import arguments_of
from kdmri_jax.inference import read_scan
from kdmri_jax.io import volume_files
from kdmri_jax.physics.masks import formats
from kdmri_jax.report import roi_file
from kdmri_jax.training import log, records

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@dataclasses.dataclass(frozen=True)
class Reader:
  """A kind of files.

  Attributes:
    make: writes undamaged files into an empty folder.
    ways: name -> reads the folder; what it returns is compared.
    weight: its share of the cases, relative to others.
    checked: whether a change of the content must be noticed, as its files have digests.
  """

  make: Callable[[pathlib.Path], Any]
  ways: Mapping[str, Callable[[pathlib.Path], Any]]
  weight: float = 1.0
  checked: bool = False


def fingerprint(value: Any) -> str:
  """A digest of arrays, texts and numbers, also within records and containers."""
  found = hashlib.blake2b(digest_size=16)
  _update(found, value)
  return found.hexdigest()


def _update(found, value):
  if dataclasses.is_dataclass(value):
    value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
  if isinstance(value, Mapping):
    value = sorted(((str(k), v) for k, v in value.items()), key=lambda pair: pair[0])
  if isinstance(value, list | tuple):
    found.update(f"[{len(value)}".encode())
    for part in value:
      _update(found, part)
  elif isinstance(value, np.ndarray | jax.Array):
    array = np.ascontiguousarray(value)
    found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
  else:
    found.update(repr(value).encode())


def _only(folder: pathlib.Path, *endings: str) -> pathlib.Path:
  """The file of the folder, the first with one of the endings."""
  paths = sorted(path for path in folder.iterdir() if path.is_file())
  return next(p for p in paths if not endings or p.name.endswith(endings))


def _scan(source="", **settings):
  def read(folder):
    with arguments_of("--"):
      return read_scan.read(_only(folder), BASE, source=source, **settings)

  return read


def _coils(source, **settings):
  def read(folder):
    found = _scan(source, **settings)(folder)
    return [
      spool.in_memory(getattr(found, name)) for name in ("kspace", "sensitivities")
    ]

  return read


def _folder(folder):
  with arguments_of("--"):
    return read_scan.read(folder, BASE)


def _source(name, acquire=all_sampled):
  def read(folder):
    with arguments_of("config.data."):
      data = load(config(source=name, root=str(folder)), acquire)
    return data.fingerprint(), data.record

  return read


def _volume(folder):
  return volume_files.read_volume(_only(folder))


def _mask(**settings):
  def read(folder):
    path = _only(folder, ".npy", ".mat", ".h5", ".cfl")
    with arguments_of("--"):
      return formats.read_mask(path, **settings)

  return read


def _config(folder):
  return config_lib.parse(records.read(_only(folder), "Write it again."))


def _file(name):
  """One of the golden files."""
  return lambda folder: shutil.copy(GOLDEN / name, folder)


def _checkpoint(load_one):
  return {"checkpoint": lambda folder: _network(*load_one(_only(folder)))}


def _network(model, variables):
  return repr(model), jax.tree.map(np.asarray, variables)


_IMAGES = {"scan": _scan(), "volume": _volume}
_SCAN, _FOLDER = {"scan": _scan()}, {"folder": _folder}

READERS: dict[str, Reader] = {
  "nii": Reader(files.nifti("a.nii"), _IMAGES),
  "nii.gz": Reader(files.nifti("a.nii.gz"), _IMAGES),
  "h5": Reader(files.h5_images, _IMAGES, 2),
  "h5 packed": Reader(files.h5_packed, _IMAGES, 2),
  "h5 new format": Reader(files.h5_latest, _IMAGES, 2),
  "npz": Reader(files.npz(np.savez), _IMAGES),
  "npz packed": Reader(files.npz(np.savez_compressed), _IMAGES),
  "npy": Reader(files.npy, _SCAN),
  "cfl": Reader(files.cfl, {"image": _scan("bart", contrast="image")}),
  "dicom": Reader(files.dicom(), _FOLDER),
  "dicom deflated": Reader(files.dicom("deflated"), _FOLDER, 0.5),
  "dicom packed": Reader(files.dicom("packed"), _FOLDER, 0.5),
  "dicom frames": Reader(files.dicom_frames, _FOLDER),
  "dicom folder": Reader(files.dicom_folder, _FOLDER, 0.5),
  "ismrmrd": Reader(files.ismrmrd, {"scan": _scan("ismrmrd")}, 2),
  "ismrmrd calibration": Reader(
    files.ismrmrd_calibration, {"scan": _coils("ismrmrd", combine="none")}
  ),
  "fastmri": Reader(files.fastmri, _SCAN, 2),
  "mask npy": Reader(files.mask("npy"), {"mask": _mask()}),
  "mask mat": Reader(files.mask("mat"), {"mask": _mask()}, 2),
  "mask mat packed": Reader(files.mask("packed.mat"), {"mask": _mask()}),
  "mask mat sparse": Reader(files.mask("sparse.mat"), {"mask": _mask()}, 2),
  "mask mat 4": Reader(files.mask("4.mat"), {"mask": _mask()}, 0.5),
  "mask mat 7.3": Reader(files.mask("7.3.mat"), {"mask": _mask()}),
  "mask h5": Reader(files.mask("h5"), {"mask": _mask(size=(12, 10))}),
  "mask cfl": Reader(files.mask("cfl"), {"mask": _mask()}, 0.5),
  "regions": Reader(
    files.regions, {"regions": lambda f: roi_file.read(_only(f), files.REGIONS)}, 0.5
  ),
  "config": Reader(files.config_record, {"config": _config}),
  "log": Reader(files.log_lines, {"log": lambda folder: log.read(_only(folder))}, 0.5),
  "pt dccnn": Reader(
    _file("recon_48x40_rows_student.pt"), _checkpoint(interop.load_kdmri_checkpoint)
  ),
  "pt edsr": Reader(_file("edsr_double.pt"), _checkpoint(interop.load_edsr_checkpoint)),
  "pt swinir": Reader(
    _file("swinir_denoise.pth"), _checkpoint(interop.load_swinir_checkpoint)
  ),
  "pt varnet": Reader(files.varnet, _checkpoint(interop.load_varnet_checkpoint), 0.5),
  "npz lasagne": Reader(
    files.lasagne, _checkpoint(interop.load_lasagne_checkpoint), 0.5
  ),
  "pt of old": Reader(files.legacy_pt, _checkpoint(interop.load_kdmri_checkpoint)),
  "pt vgg": Reader(
    files.vgg, {"weights": lambda folder: interop.load_vgg(_only(folder))}
  ),
  **{
    f"source {name}": Reader(make, {"load": _source(name, *acquire)}, 0.5)
    for name, make, *acquire in (
      ("nifti", files.nifti_folder),
      ("npz", files.npz_folder),
      ("acdc", files.acdc),
      ("mrbrains13", files.mrbrains),
      ("ixi", files.ixi),
      ("fastmri", files.fastmri_folder),
      ("hammernik", files.hammernik),
      ("calgary_multi", files.calgary_multi),
      ("kdmri", files.kdmri, measured_by(EVEN_ROWS)),
      ("bart", files.bart_folder),
      ("ismrmrd", files.ismrmrd_folder),
      ("dicom", files.dicom_subjects),
      ("prepared", files.prepared, measured_by(EVEN_ROWS)),
    )
  },
  "work directory": Reader(
    runs.make, {"load": runs.load, "state": runs.state}, 2, checked=True
  ),
  "work directory: resume": Reader(
    runs.make, {"resume": runs.resume}, 0.1, checked=True
  ),
  "work directory: report": Reader(
    runs.make, {"report": runs.report}, 0.01, checked=True
  ),
}
