"""Undersampled k-space in the formats of the sources; for h5 and npy see `single`."""

import pathlib
from collections.abc import Callable, Iterable, Iterator

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.data.measured import (
  Measured,
  Plane,
  of_planes,
  require_sense,
  sensitivities,
)
from kdmri_jax.data.sources import (
  bart,
  calgary_campinas,
  calgary_multi,
  hammernik,
  ismrmrd,
)
from kdmri_jax.errors import UserError
from kdmri_jax.io import raw_header
from kdmri_jax.io.h5 import h5_dataset
from kdmri_jax.io.reading import reading
from kdmri_jax.physics import coils

_MOSTLY = 2 / 3


def from_fastmri(path: pathlib.Path, settings: DataConfig) -> Measured | None:
  """Reads a file of fastMRI's test and challenge sets; None if it is fully sampled.

  Beside centred `kspace`, (slices, rows, columns) or (slices, coils, rows, columns),
  it holds `mask`, one value for each column.

  Args:
    path: the h5 file.
    settings: with `combine` "sense" for several coils, see
      `data.measured.sensitivities`.

  Raises:
    UserError: a damaged file or one of another layout, samples outside the mask,
      several coils without sensitivities, or missing or unfitting ones.
  """
  with reading(path), h5py.File(path) as file:
    if "mask" not in file:
      return None
    columns = np.asarray(file["mask"][()]) != 0
    kspace = h5_dataset(file, "kspace")
    shape = kspace.shape
    fits = kspace.dtype.kind == "c" and len(shape) in (3, 4) and 0 not in shape
    if not fits or columns.shape != shape[-1:]:
      raise UserError(
        path,
        f"'kspace' of type {kspace.dtype} and shape {shape}, 'mask' of shape "
        f"{columns.shape}",
        "complex (slices, rows, columns) or (slices, coils, rows, columns), and a mask "
        "of the columns",
        "Check that the file is one of fastMRI.",
      )
    shape = shape if len(shape) == 4 else (shape[0], 1, *shape[1:])
    maps = sensitivities(path, shape, settings)
    mask = np.broadcast_to(columns, shape[2:])
    planes = (
      Plane(kspace[k].reshape(shape[1:]), maps[k], mask) for k in range(shape[0])
    )
    record = {"file": str(path), "source": "fastmri", "phase_encode_axis": 1}
    return of_planes(path, planes, record, raw_header.read(file, path))


def from_ismrmrd(path: pathlib.Path, settings: DataConfig) -> Measured | None:
  """Reads ISMRM raw data whose lines are not all there; None if they are.

  The lines that were measured are the mask. Those for calibration count where the
  header says that they are embedded. Of a partial Fourier acquisition k-space reaches
  as far on the side that was not measured.

  Args:
    path: the file.
    settings: `contrast` is the number of an echo; `combine` is "sense" for several
      coils, see `data.measured.sensitivities`.

  Raises:
    UserError: as `sources.ismrmrd.volumes`, but for missing lines; slices that were
      sampled differently; several coils without sensitivities.
  """
  with ismrmrd.opened(path, settings.contrast, partial=True) as scan:
    if scan.lines.all():
      return None
    maps = sensitivities(path, scan.shape, settings)
    masks = np.broadcast_to(scan.lines[..., None], (len(scan.lines), *scan.shape[2:]))
    planes = map(Plane, scan.slices, maps, masks)
    record = scan.record | {"note": " ".join(scan.notes)}
    return of_planes(path, planes, record, scan.header)


def from_bart(path: pathlib.Path, settings: DataConfig) -> Measured | None:
  """Reads a file of k-space of the BART toolbox; None if it is fully sampled.

  What is exactly zero in all coils was not sampled. Fully sampled is k-space without
  empty lines between others and with more than two thirds of its points: its border may
  be empty.

  Args:
    path: NAME.cfl; its slices lie as in `sources.bart`.
    settings: `contrast` "image" says that it holds no k-space; `combine` is "sense" for
      several coils, whose sensitivities NAME_sens.cfl then holds.

  Raises:
    UserError: as `sources.bart.kspace_slices`; slices that were sampled differently;
      several coils without sensitivities; a contrast that does not tell.
  """
  if not settings.contrast:
    raise UserError(
      path,
      "a file that does not tell whether it holds k-space or images",
      "--contrast=kspace or --contrast=image",
      "Add one of the two.",
    )
  if settings.contrast != "kspace":
    return None
  sense = settings.combine == "sense"
  planes = list(_by_zeros(bart.kspace_slices(path, sensitivities=sense)))
  sampled = np.any([plane.sampled for plane in planes], axis=0)
  if sampled.mean() > _MOSTLY and not coils.missing_samples(sampled):
    return None
  require_sense(
    path, len(planes[0].kspace), f"{path.stem}{bart.SENSITIVITIES}.cfl", settings
  )
  along = bart.slices_dimension(path, is_image=False)
  record = {"file": str(path), "source": "bart", "slices_along_dimension": along}
  return of_planes(path, planes, record)


def from_hammernik(path: pathlib.Path, settings: DataConfig) -> Measured | None:
  """Reads rawdata<k>.mat of a subject, or one of them; None if fully sampled.

  What is exactly zero in all coils was not sampled; the first slice tells whether that
  is more than a border.

  Args:
    path: the folder of a subject, or rawdata<k>.mat.
    settings: `combine` is "sense" for several coils, whose sensitivities espirit<k>.mat
      then holds.

  Raises:
    UserError: a damaged file, slices that were sampled differently, or several coils
      without sensitivities.
  """
  folder, numbers = path if path.is_dir() else path.parent, hammernik.numbers_of(path)
  first, _ = hammernik.read_slice(folder, numbers[0], "")
  if not coils.missing_samples((first != 0).any(0)):
    return None
  require_sense(path, len(first), "espirit<k>.mat", settings)
  way = "sense" if len(first) > 1 else ""
  planes = _by_zeros(hammernik.read_slice(folder, k, way) for k in numbers)
  record = {"file": str(path), "source": "hammernik", "phase_encode_axis": 1}
  return of_planes(path, planes, record)


def from_calgary_multi(path: pathlib.Path, settings: DataConfig) -> Measured | None:
  """Reads a test file of the 12-channel challenge; None if it is fully sampled.

  What is exactly zero in all coils was not sampled; the middle slice tells whether that
  is more than a border. As in fully sampled files, the last 15% of the columns are set
  to zero.

  Args:
    path: the h5 file.
    settings: `combine` is "sense" for several coils, see `data.measured.sensitivities`.

  Raises:
    UserError: a damaged file or one of another layout, slices that were sampled
      differently, or several coils without sensitivities.
  """
  with calgary_multi.opened(path) as kspace:
    middle = calgary_multi.read_slice(kspace, len(kspace) // 2)
    if not coils.missing_samples((middle != 0).any(0)):
      return None
    maps = sensitivities(path, (len(kspace), *middle.shape), settings)
    slices = (calgary_multi.read_slice(kspace, k) for k in range(len(kspace)))
    planes = _by_zeros(zip(slices, maps, strict=True))
    record = {"file": str(path), "source": "calgary_multi"}
    return of_planes(path, planes, record, centred_image=False)


def from_calgary_campinas(path: pathlib.Path, settings: DataConfig) -> Measured | None:
  """Reads a single-channel file; None if it is fully sampled, or no k-space.

  What is exactly zero was not sampled; the middle slice tells whether that is more than
  a border.

  Args:
    path: the .npy file.
    settings: the data settings.

  Raises:
    UserError: a damaged file, another shape, or slices that were sampled differently.
  """
  if path.suffix != ".npy":
    return None
  kspace = calgary_campinas.read_kspace(path)
  if not coils.missing_samples(kspace[len(kspace) // 2] != 0):
    return None
  record = {"file": str(path), "source": "calgary_campinas"}
  record["note"] = calgary_campinas.KSPACE_NOTE
  planes = _by_zeros((own[None], None) for own in kspace)
  return of_planes(path, planes, record, centred_image=False)


# What `kdmri reconstruct` asks before it takes a file for fully sampled.
READERS: dict[str, Callable[[pathlib.Path, DataConfig], Measured | None]] = {
  "fastmri": from_fastmri,
  "ismrmrd": from_ismrmrd,
  "bart": from_bart,
  "hammernik": from_hammernik,
  "calgary_multi": from_calgary_multi,
  "calgary_campinas": from_calgary_campinas,
}


def _by_zeros(
  slices: Iterable[tuple[np.ndarray, np.ndarray | None]],
) -> Iterator[Plane]:
  """Planes of k-space and sensitivities; zero in all coils was not sampled."""
  for kspace, maps in slices:
    yield Plane(kspace, maps, (kspace != 0).any(0))
