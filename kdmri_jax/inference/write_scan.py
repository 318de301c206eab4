"""A reconstructed scan as a file: h5, NIfTI or BART's cfl."""

import gzip
import math
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io import cfl
from kdmri_jax.io import raw_header as headers
from kdmri_jax.io.reading import split_name
from kdmri_jax.optional import require
from kdmri_jax.saving import replacing

FORMATS = {
  "h5": (".h5", ".hdf5"),
  "nifti": (".nii", ".nii.gz"),
  "cfl": (".cfl", ".hdr"),
}

# Where rows, columns and slices lie in the NIfTI files of a source; see its reader.
_SLICES_LAST = (1, 2, 0)
_SLICES_FIRST = {"calgary_campinas": (0, 1, 2)}


def check_target(path: pathlib.Path, form: str) -> str:
  """The format of a file to be written, which must not exist.

  Args:
    path: the file; for "cfl" one of the pair.
    form: one of `FORMATS`, or "" for that which the name says, h5 if it says none.

  Raises:
    UserError: it exists, the format is unknown, or the name says another one.
  """
  _, suffix = split_name(path)
  named = next((form for form, endings in FORMATS.items() if suffix in endings), "")
  form = form or named or "h5"
  if form not in FORMATS:
    expected = f"one of {', '.join(FORMATS)}"
    raise UserError("--format", repr(form), expected, "Correct the name.")
  if named != form and (named or form == "nifti"):
    raise UserError(
      path,
      f"a name of another format than --format={form}",
      f"one that ends in {' or '.join(FORMATS[form])}",
      "Correct --out or --format.",
    )
  there = [path] if form != "cfl" else cfl.pair(path)
  for file in there:
    if file.exists():
      raise UserError(file, "a file there", "a new file", "Choose another --out.")
  return form


def write(
  path: pathlib.Path,
  images: Mapping[str, np.ndarray],
  record: Mapping[str, Any],
  form: str,
  header: headers.Header = headers.NONE,
) -> None:
  """Writes a scan, or nothing.

  "h5" holds all images under their names, and the header. NIfTI and cfl hold the
  reconstruction alone, with axes in the order of the file that was read: NIfTI lies
  over a NIfTI or DICOM input, whose matrix it has; of other inputs no place is known,
  and it has none.

  Args:
    path: the file.
    images: "reconstruction" and others, float32 [S, H, W].
    record: of what was read, see `data.Volume`: file, source, and what is known of
      zooms, affine and slices_along_dimension.
    form: one of `FORMATS`.
    header: what the file that was read says beside its arrays.

  Raises:
    UserError: it cannot be written, or nibabel is not installed.
  """
  if form == "h5":
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
      file.attrs["units"] = "file"
      for key, array in images.items():
        file[key] = array
      headers.write(file, header)
  elif form == "nifti":
    content = nifti_bytes(images["reconstruction"], record)
    if path.name.lower().endswith(".gz"):
      content = gzip.compress(content, mtime=0)
    with replacing(path) as temporary:
      temporary.write_bytes(content)
  else:
    along = record.get("slices_along_dimension", 13)
    cfl.write_cfl(path, _in_bart_order(images["reconstruction"], along))


def nifti_bytes(image: np.ndarray, record: Mapping[str, Any]) -> bytes:
  """One NIfTI file of an image [S, H, W]; see `write`."""
  nibabel = require_nibabel(record.get("file", "--format"))
  source = record.get("source", "")
  original = str(record.get("file", ""))
  if original.endswith((".nii", ".nii.gz")):
    model = nibabel.load(original)
    array = image.transpose(_SLICES_FIRST.get(source, _SLICES_LAST))
    if math.prod(model.shape) == array.size:
      array = array.reshape(model.shape)  # of other axes with one entry
    header = model.header.copy()
    header.set_data_dtype(np.float32)
    return type(model)(array, model.affine, header).to_bytes()
  array = image.transpose(_SLICES_LAST)
  result = nibabel.Nifti1Image(array, None)
  if "zooms" in record:
    result.header.set_zooms(record["zooms"])
    result.header.set_xyzt_units("mm")
  if "affine" in record:
    result.set_sform(np.array(record["affine"]), code="scanner")
  return result.to_bytes()


def require_nibabel(where: object) -> types.ModuleType:
  """The package nibabel.

  Raises:
    UserError: it is not installed.
  """
  purpose = "NIfTI to be written"
  return require("nibabel", "data", where, purpose, ", or choose --format=h5")


def _in_bart_order(image, along):
  """[S, H, W] with the slices in this dimension of BART."""
  if along == 0:
    return image
  array = image.transpose(_SLICES_LAST)
  ones = (1,) * (along - 2)
  return array.reshape(*array.shape[:2], *ones, array.shape[2])
