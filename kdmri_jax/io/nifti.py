"""NIfTI files."""

import contextlib
import gzip
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.reading import reading, refuse_huge
from kdmri_jax.optional import require
from kdmri_jax.saving import replacing

# The axes of a file that hold rows, columns and slices of [S, H, W].
SLICES_LAST = (1, 2, 0)
ENDINGS = (".nii", ".nii.gz")
_PAIR = (".hdr", ".img")
_GZIP = b"\x1f\x8b"  # the first bytes of compressed data


def read_nifti(
  path: pathlib.Path, frame: int | None = None, *, repeated: bool = False
) -> tuple[np.ndarray, Any]:
  """Reads one NIfTI volume.

  The stored array axes are kept: axis 0 becomes the rows, axis 1 the columns and axis 2
  the slices. The published masks count their phase-encode axis in this order, and
  results match the file index by index. An axial image in the common L, P, S order
  therefore appears rotated.

  Args:
    path: a file of three dimensions, of two, or of more where those after the third
      have one entry, or one of a pair .hdr and .img. Its content tells whether it is
      compressed, not its name.
    frame: index, from 0, along the fourth dimension of a file with four dimensions;
      None for other files.
    repeated: whether the fourth dimension holds repeats, which are all read.

  Returns:
    Images [S, H, W], or repeats of them [R, S, H, W], in the scaled units of the file,
    and a record with the file, the stored shape, the voxel size and, where the header
    states a position, the anatomical direction of each axis and the matrix from indices
    of rows, columns and slices to mm.

  Raises:
    UserError: nibabel is not installed, or the file is damaged or has other dimensions.
  """
  nibabel = require("nibabel", "data", path, "a NIfTI file")
  path = _pair(path)[1] if is_pair(path) else path
  with reading(path), _opened(nibabel, path) as image:
    shape, packed = image.shape, _is_packed(path)
    refuse_huge(path, shape, image.get_data_dtype().itemsize, compressed=packed)
    if packed:
      _verify(path)
    codes, affine = _codes(nibabel, image), image.affine
    zooms = [abs(float(size)) for size in image.header["pixdim"][1:4]]
    fits = len(shape) > 1 and math.prod(shape[3:]) == 1
    expected = "three dimensions"
    if frame is not None:
      fits = len(shape) == 4 and frame < shape[3]
      expected = f"{frame + 1} frames or more"
    if repeated:
      fits, expected = len(shape) == 4, "four dimensions, the repeats along the fourth"
    if not fits:
      expected += ", the slices along the third"
      remedy = (
        "Save one file per volume (a frame of a series, an echo, a direction), or the "
        "mean of repeats; a run takes a file of repeats with data.repeats=1 or more."
      )
      raise UserError(path, f"an array of shape {shape}", expected, remedy)
    data = image.dataobj if frame is None else image.dataobj[..., frame]
    array = np.asanyarray(data)
    array = array if repeated else array.reshape((*shape, 1)[:3])
  record = {"file": str(path), "file_shape": list(shape), "zooms": zooms}
  if codes:
    names = ("rows", "columns", "slices")
    record["axes_increase_towards"] = dict(zip(names, codes, strict=True))
    record["affine"] = affine.tolist()
  return np.moveaxis(
    array, (3, 2) if repeated else 2, (0, 1) if repeated else 0
  ), record


def write_nifti(
  path: pathlib.Path,
  image: np.ndarray,
  record: Mapping[str, Any],
  axes: tuple[int, int, int] = SLICES_LAST,
) -> None:
  """Writes one volume completely or not at all; compressed if the name ends in .gz.

  It matches the input file: for a NIfTI file it has the order of axes, both matrices
  and the rest of the header; for other files the matrix and the voxel size in the
  record.

  Args:
    path: the file.
    image: float32 [S, H, W].
    record: of the input, see `read_nifti`: file, and optionally zooms and affine.
    axes: order of the axes of `image` in the NIfTI input.

  Raises:
    UserError: it cannot be written, or nibabel is not installed.
  """
  nibabel = require("nibabel", "data", path, "NIfTI to be written")
  content = _content(nibabel, image, record, axes)
  if path.name.lower().endswith(".gz"):
    content = gzip.compress(content, mtime=0)
  with replacing(path) as temporary:
    temporary.write_bytes(content)


def _content(nibabel, image, record, axes) -> bytes:
  original = str(record.get("file", ""))
  if original.lower().endswith(ENDINGS) or is_pair(pathlib.Path(original)):
    array = image.transpose(axes)
    with _opened(nibabel, pathlib.Path(original)) as model:
      if math.prod(model.shape) == array.size:
        array = array.reshape(model.shape)  # add axes with one entry
      header = model.header.copy()
      header.set_data_dtype(np.float32)
      kinds = (nibabel.Nifti1Image, nibabel.Nifti2Image)
      kind = kinds[isinstance(model, nibabel.Nifti2Pair | nibabel.Nifti2Image)]
      return kind(array, model.affine, header).to_bytes()
  result = nibabel.Nifti1Image(image.transpose(SLICES_LAST), None)
  if "zooms" in record:
    result.header.set_zooms(record["zooms"])
    result.header.set_xyzt_units("mm")
  if "affine" in record:
    result.set_sform(np.array(record["affine"]), code="scanner")
  return result.to_bytes()


def is_pair(path: pathlib.Path) -> bool:
  """Whether a file is one of a pair .hdr and .img whose header is that of NIfTI.

  Raises:
    UserError: the header cannot be read.
  """
  if path.suffix.lower() not in _PAIR:
    return False
  header, image = _pair(path)
  if not (header.is_file() and image.is_file()):
    return False
  with reading(header), header.open("rb") as file:
    content = file.read(348)
  return content[344:] == b"ni1\0" or content[4:8] == b"ni2\0"


def _pair(path: pathlib.Path) -> list[pathlib.Path]:
  """Header and image of a pair, from either of them."""
  return [walk.present(path.with_suffix(ending)) for ending in _PAIR]


@contextlib.contextmanager
def _opened(nibabel, path) -> Iterator[Any]:
  """The image; `nibabel.load` trusts the ending of the name and its case."""
  with gzip.open(path) if _is_packed(path) else path.open("rb") as stream:
    header = stream.read(nibabel.Nifti2Image.header_class.sizeof_hdr)
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
      if kind.header_class.may_contain_header(header):
        yield kind.from_file_map({"image": nibabel.FileHolder(path, stream)})
        return
    yield nibabel.load(path)


def _is_packed(path) -> bool:
  with path.open("rb") as file:
    return file.read(len(_GZIP)) == _GZIP


def _codes(nibabel, image) -> tuple[str, ...]:
  """Directions of the axes, such as ("L", "P", "S"); () where they are not known."""
  known = image.header["sform_code"] or image.header["qform_code"]
  if not known or not np.isfinite(image.affine).all():
    return ()
  codes = nibabel.aff2axcodes(image.affine)
  return () if None in codes else codes


def _verify(path):
  """Reads a compressed file to its end, to check its checksum; nibabel does not."""
  size = 0
  with gzip.open(path) as file:
    while count := len(file.read(1 << 20)):
      size += count
      refuse_huge(path, (size,), 1, compressed=True, at_once=False)
