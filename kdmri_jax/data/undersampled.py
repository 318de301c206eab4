"""K-space that arrives undersampled, with what it says of its own sampling."""

import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import h5py
import numpy as np

from kdmri_jax.data import coils, header
from kdmri_jax.data.files import h5_dataset, reading
from kdmri_jax.data.header import NONE, Header
from kdmri_jax.data.sources import bart
from kdmri_jax.errors import UserError

SENSITIVITIES = "_sens.npy"
COMBINED = (
  "The k-space of several coils was replaced by that of their zero-filled images' "
  "combination, cut to the points that were sampled. No coil measured it: it only "
  "approximates the combination's own k-space, and data consistency keeps to it."
)

_ROUNDING = 1e-6
_MOST_EMPTY = 0.01
_MOSTLY = 2 / 3


class Measured(NamedTuple):
  """Undersampled k-space of one coil, or of a combination.

  Attributes:
    kspace: complex64 [S, H, W], orthonormal, zero frequency at [0, 0], 0 where not
      sampled.
    mask: where it was sampled, uint8 [H, W], zero frequency at [0, 0]; None where the
      file does not tell.
    record: file, source, coils, combine and note.
    header: what its file says beside the arrays.
  """

  kspace: np.ndarray
  mask: np.ndarray | None
  record: dict[str, Any]
  header: Header = NONE


def from_fastmri(path: pathlib.Path, combine: str) -> Measured | None:
  """Reads a file of fastMRI's test and challenge sets; None if it is fully sampled.

  Beside centred `kspace`, (slices, rows, columns) or (slices, coils, rows, columns),
  it holds `mask`, one value for each column.

  Args:
    path: the h5 file.
    combine: "sense" for several coils, whose sensitivities, complex (slices, coils,
      rows, columns), NAME_sens.npy beside it then holds; else "".

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
    count = 1 if len(shape) == 3 else shape[1]
    maps = _fastmri_maps(path, shape, count, combine)
    mask = np.broadcast_to(columns, shape[-2:])
    slices = (
      (kspace[k] if count > 1 or len(shape) == 4 else kspace[k][None], maps[k])
      for k in range(len(kspace))
    )
    images = [_image(own, map_, mask, path) for own, map_ in slices]
    kept = header.read(file, path)
  record = {"file": str(path), "source": "fastmri", "phase_encode_axis": 1}
  return _measured(images, mask, record, count)._replace(header=kept)


def from_bart(path: pathlib.Path, combine: str) -> Measured | None:
  """Reads a file of k-space of the BART toolbox; None if it is fully sampled.

  What is exactly zero in all coils was not sampled. Fully sampled is k-space without
  empty lines between others and with more than two thirds of its points: its border may
  be empty.

  Args:
    path: NAME.cfl; its slices lie as in `sources.bart`.
    combine: "sense" for several coils, whose sensitivities NAME_sens.cfl then holds;
      else "".

  Raises:
    UserError: as `sources.bart.kspace_slices`; slices that were sampled differently;
      several coils without sensitivities.
  """
  sampled, masks, images, count = None, [], [], 1
  for kspace, maps in bart.kspace_slices(path, sensitivities=combine == "sense"):
    points, count = (kspace != 0).any(0), len(kspace)
    masks.append(points)
    sampled = points if sampled is None else sampled | points
    if count == 1 or maps is not None:
      images.append(_image(kspace, maps, points, path))
  if sampled.mean() > _MOSTLY and not coils.missing_samples(sampled):
    return None
  if not images:
    raise _refused_coils(path, count, f"{path.stem}{bart.SENSITIVITIES}.cfl")
  for k, points in enumerate(masks):
    empty = int((sampled & ~points).sum())
    if points.any() and empty > _MOST_EMPTY * sampled.sum():
      raise UserError(
        path,
        f"slice {k} without {empty} of the points that other slices have",
        "one sampling for all slices",
        "Reconstruct them one by one: bart slice 13 K INPUT OUTPUT",
      )
  along = bart.slices_dimension(path, is_image=False)
  record = {"file": str(path), "source": "bart", "slices_along_dimension": along}
  return _measured(images, sampled, record, count)


def _fastmri_maps(path, shape, count, combine):
  """The sensitivities of each slice, or None for each."""
  own = path.with_name(path.stem + SENSITIVITIES)
  if count == 1:
    return [None] * shape[0]
  if combine != "sense":
    raise _refused_coils(path, count, own.name)
  if not own.is_file():
    raise UserError(
      own,
      "no such file",
      f"the sensitivities of the coils of {path.name}, which --combine=sense needs",
      "Estimate them (ESPIRiT, for instance) and save them with numpy.save.",
    )
  with reading(own):
    maps = np.load(own, mmap_mode="r", allow_pickle=False)
  if maps.shape != shape or maps.dtype.kind != "c":
    raise UserError(
      own,
      f"{maps.dtype} numbers of shape {maps.shape}",
      f"complex numbers in the shape of the k-space, {shape}",
      "Estimate the sensitivities from this very file.",
    )
  return maps


def _refused_coils(path, count, name):
  return UserError(
    path,
    f"undersampled k-space of {count} coils",
    "that of one coil: the networks know one image and its k-space, and a root sum of "
    "squares of zero-filled coil images has no k-space that was measured",
    f"Put the coils' sensitivities into {name} beside it and add --combine=sense; the "
    "combination's k-space is then an approximation.",
  )


def _image(kspace, maps, sampled, path):
  """The zero-filled image, complex64 [H, W], of centred k-space [C, H, W]."""
  size = np.abs(kspace).max(0)
  outside = int((size[~sampled] > _ROUNDING * size.max()).sum())
  if not np.isfinite(size).all() or outside:
    raise UserError(
      path,
      f"samples at {outside} points outside its mask"
      if outside
      else "NaN or infinite values",
      "k-space that is finite, and zero where the mask is",
      "Copy the file again, or mend its mask.",
    )
  images = coils.to_image(kspace)
  return images[0] if maps is None else coils.by_sensitivity(images, maps)


def _measured(images: Iterable[np.ndarray], sampled, record, count) -> Measured:
  mask = np.fft.ifftshift(sampled).astype(np.uint8)
  kspace = np.fft.fft2(np.stack(list(images)), norm="ortho") * mask
  record |= {"coils": count, "combine": "sense" if count > 1 else ""}
  record["note"] = COMBINED if count > 1 else ""
  return Measured(kspace.astype(np.complex64), mask, record)
