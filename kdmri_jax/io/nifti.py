"""NIfTI files."""

import gzip
import math
import pathlib
from typing import Any

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import reading, refuse_huge
from kdmri_jax.optional import require


def read_nifti(path: pathlib.Path, frame: int | None = None) -> tuple[np.ndarray, Any]:
  """Reads one NIfTI volume.

  The stored array axes are kept: axis 0 becomes the rows, axis 1 the columns and
  axis 2 the slices. That is how the published masks count their phase-encode axis,
  and results can be laid over the file index by index; an axial image in the common
  L, P, S order therefore lies on its side.

  Args:
    path: a file of three dimensions, of two, or of more where those after the third
      have one entry.
    frame: with it the file has four dimensions and this entry, from 0, is read.

  Returns:
    Images [S, H, W] in the scaled units of the file, and a record with the file,
    the stored shape, the anatomical direction of each axis and the voxel size.

  Raises:
    UserError: nibabel is absent, the file is damaged or has other dimensions.
  """
  nibabel = _nibabel(path)
  errors = (
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
  )
  with reading(path, *errors):
    _verify(path)
    image = nibabel.load(path)
    shape = image.shape
    refuse_huge(path, shape[:3], itemsize=4)
    codes = _codes(nibabel, image)
    zooms = [abs(float(size)) for size in image.header["pixdim"][1:4]]
    if frame is not None and len(shape) == 4 and frame < shape[3]:
      array = np.asanyarray(image.dataobj[..., frame])
    elif frame is None and len(shape) > 1 and math.prod(shape[3:]) == 1:
      array = np.asanyarray(image.dataobj).reshape((*shape, 1)[:3])
    else:
      array = None
  if array is None:
    wanted_shape = (
      "three dimensions" if frame is None else f"{frame + 1} frames or more"
    )
    raise UserError(
      path,
      f"an array of shape {shape}",
      f"{wanted_shape}, the slices along the third",
      "Save one file a volume (a frame of a series, an echo, a direction), or leave "
      "this one out with --config.data.include.",
    )
  record = {"file": str(path), "file_shape": list(shape), "zooms": zooms}
  if codes:
    names = ("rows", "columns", "slices")
    record["axes_increase_towards"] = dict(zip(names, codes, strict=True))
  return np.moveaxis(array, 2, 0), record


def _codes(nibabel, image) -> tuple[str, ...]:
  """Where the axes lead to, such as ("L", "P", "S"); () where the file does not say."""
  known = image.header["sform_code"] or image.header["qform_code"]
  if not known or not np.isfinite(image.affine).all():
    return ()
  codes = nibabel.aff2axcodes(image.affine)
  return () if None in codes else codes


def _verify(path):
  """Reads a compressed file to its end, where its checksum is; nibabel does not."""
  if path.suffix == ".gz":
    with gzip.open(path) as file:
      while file.read(1 << 20):
        pass


def _nibabel(path):
  return require("nibabel", "data", path, "a NIfTI file")
