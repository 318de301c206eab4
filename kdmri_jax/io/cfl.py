"""Arrays of the BART toolbox: a pair of files, NAME.hdr and NAME.cfl."""

import math
import os
import pathlib
import re

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io import walk
from kdmri_jax.io.reading import reading
from kdmri_jax.saving import replacing

DIMENSIONS = 16
SENSITIVITIES = "_sens"  # at the end of the name of a pair with coil sensitivities
_TYPE = np.dtype("<c8")
_NIFTI = (b"\x5c\x01\0\0", b"\0\0\x01\x5c")  # 348, the length of its header
_REMEDY = "Write the pair again with BART or with kdmri_jax.io.cfl.write_cfl."


def read_cfl(path: str | os.PathLike) -> np.memmap:
  """Opens one pair; indexing the array reads values from the disk.

  Args:
    path: NAME, NAME.hdr or NAME.cfl.

  Returns:
    Read-only complex64 array of 16 dimensions, which are 1 where unused. The first
    index runs fastest in the file.

  Raises:
    UserError: a file of the pair is missing, the header has no usable section "#
      Dimensions", or the size of NAME.cfl does not match it.

  Source: BART's description of its data format.
  """
  header, data = map(walk.present, pair(path))
  shape = _shape(header)
  size = math.prod(shape) * _TYPE.itemsize
  with reading(data):
    if (found := data.stat().st_size) != size:
      expected = f"{size} bytes, {_TYPE.itemsize} for each number of the dimensions "
      expected += f"{_short(shape)} in {header.name}"
      remedy = f"One of the two is truncated or belongs to another array. {_REMEDY}"
      raise UserError(data, f"{found} bytes", expected, remedy)
    return np.memmap(data, _TYPE, "r", shape=shape, order="F")


def write_cfl(path: str | os.PathLike, array: np.ndarray) -> None:
  """Writes one pair; an existing pair stays until both files are complete.

  Args:
    path: NAME, NAME.hdr or NAME.cfl.
    array: numbers in up to 16 dimensions, in BART's order (readout, phase encoding 1
      and 2, coils, ...); stored as complex64.

  Raises:
    UserError: the array is empty, of another type or has more dimensions, or the
      files cannot be written.
  """
  header, data = pair(path)
  array = np.asarray(array)
  if array.ndim > DIMENSIONS or not array.size or array.dtype.kind not in "biufc":
    found = f"an array of {array.dtype} and shape {array.shape} to write"
    expected = f"numbers in up to {DIMENSIONS} dimensions, none of them 0"
    remedy = "Convert it to a numeric array with another shape."
    raise UserError(data, found, expected, remedy)
  shape = array.shape + (1,) * (DIMENSIONS - array.ndim)
  text = "".join(f"{size} " for size in shape)
  with replacing(header) as new_header, replacing(data) as new_data:
    new_header.write_text(f"# Dimensions\n{text}\n", encoding="utf-8")
    array.astype(_TYPE, order="F").T.tofile(new_data)


def image_in_bart_order(image: np.ndarray, along: int = 13) -> np.ndarray:
  """Images [S, H, W] in BART's dimensions.

  Args:
    image: the images; rows and columns become dimensions 0 and 1.
    along: dimension of the slices, 2 or 13; 0 keeps the axes.
  """
  if along == 0:
    return image
  array = image.transpose(1, 2, 0)
  return array.reshape(*array.shape[:2], *(1,) * (along - 2), array.shape[2])


def pair(path: str | os.PathLike) -> tuple[pathlib.Path, pathlib.Path]:
  """NAME.hdr and NAME.cfl, from either of them or from NAME."""
  path = pathlib.Path(path)
  name = re.sub(r"(\.cfl)?(\.hdr)?$", "", path.name, flags=re.IGNORECASE)
  return path.with_name(f"{name}.hdr"), path.with_name(f"{name}.cfl")


def _shape(header):
  with reading(header):
    content = header.read_bytes()
    if content[:4] in _NIFTI:
      remedy = "Convert the pair with nibabel: nibabel.save(nibabel.load('NAME.img'), "
      remedy += "'NAME.nii')."
      found = "the header of a pair of NIfTI or Analyze files"
      raise UserError(header, found, "a header of BART", remedy)
    text = content.decode("utf-8-sig").replace("\r\n", "\n")
  match = re.search(r"^# *Dimensions *\n([^#]*)", text, re.MULTILINE)
  numbers = match.group(1).split() if match else []
  sizes = [int(number) for number in numbers if re.fullmatch(r"[0-9]{1,18}", number)]
  problems = {
    "no section '# Dimensions'": not numbers,
    "the dimensions of several arrays in one file": "# MultiDimensions" in text,
    f"the dimensions {' '.join(numbers)[:80]}": len(sizes) < len(numbers) or 0 in sizes,
    f"{len(sizes)} dimensions": any(size > 1 for size in sizes[DIMENSIONS:]),
  }
  if found := next((text for text, is_so in problems.items() if is_so), ""):
    expected = f"up to {DIMENSIONS} whole numbers from 1 after the line '# Dimensions'"
    raise UserError(header, found, expected, _REMEDY)
  sizes = sizes[:DIMENSIONS]
  return tuple(sizes) + (1,) * (DIMENSIONS - len(sizes))


def _short(shape):
  """The shape without the dimensions of 1 at its end."""
  used = max((k + 1 for k, size in enumerate(shape) if size > 1), default=1)
  return list(shape[:used])
