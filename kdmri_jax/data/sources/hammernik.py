"""The raw knee k-space of Hammernik et al. 2018, which KD-MRI also used."""

import pathlib
import re
from collections.abc import Iterator

import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data import coil_noise
from kdmri_jax.data.folders import choose, not_there, root_folder, subject_of, wanted
from kdmri_jax.data.measured import RawScan
from kdmri_jax.data.sensitivities import Sensitivities
from kdmri_jax.data.source import Scan, Source, by_ending, only
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.mat import contents, read_mat
from kdmri_jax.physics.coils import combination

CITATION = "Knees of Hammernik et al., Magnetic Resonance in Medicine 79, 2018."
USUAL = "coronal_pd"
_SLICE = re.compile(r"rawdata(\d+)\.mat", re.IGNORECASE)


def volumes(config: DataConfig) -> Iterator[Volume]:
  """Reads ROOT/SEQUENCE/SUBJECT/rawdata<k>.mat, or ROOT/SUBJECT/... of one sequence.

  `rawdata` (readout, phase encode, coils) is one slice's centred k-space; the readout
  runs along the rows, with twofold oversampling, and slices are in the order of k.
  `config.contrast` is the sequence: "coronal_pd" where it is "", "coronal_pd_fs",
  "axial_t2", "sagittal_pd" or "sagittal_t2". Subjects are named "01" to "20".

  `config.combine` is "rss", as in KD-MRI, where it is "", or "sense", which takes the
  `sensitivities` of espirit<k>.mat; the `reference` there is not read. "none" keeps the
  k-space of the coils.

  Raises:
    UserError: no such folder or sequence, or a file that is missing, damaged,
      undersampled or of another layout.
  """
  folder = _sequence(config, root_folder(config))
  for number, path in _subjects(folder):
    name = f"{folder.resolve().name}_{number:02d}"
    if wanted(config, name):
      slices = slices_of(path)
      subject = subject_of(config, next(iter(slices.values())), f"{number:02d}")
      yield _volume(config, _scan(path, slices, CITATION), name, subject)


def _sequence(config: DataConfig, root: pathlib.Path) -> pathlib.Path:
  """The folder that holds the folders of the subjects."""
  usual, found = root.resolve().name, {root.resolve().name: root}
  if not _subjects(root):
    found = {path.name: path for path in walk.folders(root) if _subjects(path)}
    usual = USUAL
  if not found:
    holding = "the folders of the sequences, or one, with a numbered folder per subject"
    raise not_there(root, f"folder {USUAL}/1 with files rawdata<k>.mat in it", holding)
  return found[choose(config, usual, found, root)]


def _subjects(folder: pathlib.Path) -> list[tuple[int, pathlib.Path]]:
  """Numbers and folders, in the order of the numbers."""
  return sorted(
    (int(path.name), path)
    for path in walk.folders(folder)
    if path.name.isdecimal() and slices_of(path)
  )


def slices_of(folder: pathlib.Path) -> dict[int, pathlib.Path]:
  """The files rawdata<k>.mat of a folder by their k, sorted.

  Raises:
    UserError: two of one k, such as rawdata1.mat and rawdata01.mat.
  """
  slices: dict[int, pathlib.Path] = {}
  for path in walk.files(folder, [".mat"], below=False):
    match = _SLICE.fullmatch(path.name)
    if match and (other := slices.setdefault(int(match[1]), path)) != path:
      found = f"slice {match[1]}, which {other.name} is, too"
      raise UserError(path, found, "one file per slice", "Remove one of them.")
  return dict(sorted(slices.items()))


def _scan(
  path: pathlib.Path, slices: dict[int, pathlib.Path], note: str = ""
) -> RawScan:
  """The slices rawdata<k>.mat of a folder, or one of them."""
  folder = path if path.is_dir() else path.parent
  numbers = list(slices)

  read_slice = lambda k: _read(slices[numbers[k]], "rawdata")  # noqa: E731
  record = {"file": str(path), "phase_encode_axis": 1}
  details = {"file": str(folder), "file_slices": numbers, "note": note}
  files = [walk.present(folder / f"espirit{k}.mat") for k in numbers]
  read_maps = lambda: (_read(file, "sensitivities") for file in files)  # noqa: E731
  maps = Sensitivities(files, read_maps, "Copy it from the official data")
  noise = lambda: coil_noise.read_beside(folder)[1]  # noqa: E731
  more = {"sensitivities": maps, "noise": noise}
  return RawScan(path, len(numbers), read_slice, record, details, **more)


def _volume(config: DataConfig, scan: RawScan, name: str, subject: str) -> Volume:
  way = combination.chosen(config.combine, "rss", "sense", "none") or "rss"
  volume = scan.volume(name, subject, way, method=config.sensitivities)
  volume.record["file_shape"] = [*volume.target.shape[1:], volume.record["coils"]]
  return volume


def _read(path: pathlib.Path, name: str) -> np.ndarray:
  """An array (readout, phase, coils) of complex numbers, as complex64 [C, H, W]."""
  (array,) = read_mat(path, name)
  is_complex = array.dtype.kind == "c"
  fits = array.ndim == 3 and 0 < array.shape[2] <= min(array.shape[:2])
  if not (is_complex and fits):
    kind = "complex" if is_complex else "real"
    found = f"{kind} numbers of shape {array.shape} in {name!r}"
    raise UserError(path, found, "complex numbers (readout, phase, coils)")
  return np.moveaxis(array, 2, 0).astype(np.complex64)


def recognise(path: pathlib.Path) -> bool:
  """Whether a folder holds files rawdata<k>.mat, or a file is MATLAB's."""
  return by_ending(".mat")(path) or (path.is_dir() and bool(slices_of(path)))


def read(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads rawdata<k>.mat of one folder, or one of them, which may be undersampled.

  Points that are exactly zero in all coils were not sampled; the middle slice shows
  whether these are more than a border.

  Args:
    path: a folder of files rawdata<k>.mat, with any name, or one of the files.
    config: its `combine` is "sense" for undersampled k-space of several coils, whose
      sensitivities espirit<k>.mat then holds.

  Raises:
    UserError: a damaged file, slices that were sampled differently, or several coils
      without sensitivities.
  """
  slices = slices_of(path)
  if not path.is_dir():
    match = _SLICE.fullmatch(path.name)
    if match is None:
      raise UserError(
        path,
        f"a MATLAB file of another name (its variables are: {contents(path)})",
        "rawdata<k>.mat, slice k as `rawdata` (readout, phase encode, coils)",
        "Save the slices like that, or read a variable by the source 'arrays' with the "
        "contrast 'kspace'.",
      )
    slices = {int(match[1]): path}
  scan = _scan(path, slices)
  if scan.has_gaps():
    return scan.measured(config)
  return _volume(config, scan, path.stem, path.stem)


def read_subjects(path: pathlib.Path, config: DataConfig) -> Scan:
  """Reads the slices of a folder, or the only subject of the folders in it."""
  if slices_of(path):
    return read(path, config)
  return only(path, volumes(config), config)


SOURCE = Source(
  volumes,
  takes=("contrast", "combine"),
  files="a folder of rawdata<k>.mat, or one of them",
  recognise=recognise,
  read=read,
  read_folder=read_subjects,
)
