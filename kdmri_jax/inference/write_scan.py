"""A reconstructed scan as a file: h5, NIfTI or BART's cfl."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdmri_jax import json_text
from kdmri_jax.data.sources import find_source
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import cfl
from kdmri_jax.io.h5 import NO_HEADER, RawHeader, write_h5
from kdmri_jax.io.nifti import SLICES_LAST, write_nifti
from kdmri_jax.io.reading import split_name
from kdmri_jax.lookup import unknown
from kdmri_jax.optional import require
from kdmri_jax.saving import replacing

FORMATS = {
  "h5": (".h5", ".hdf5"),
  "nifti": (".nii", ".nii.gz"),
  "cfl": (".cfl", ".hdr"),
}


def check_target(path: pathlib.Path, form: str) -> str:
  """The format of a new file, which must not exist.

  Args:
    path: the file; for "cfl" one of the pair.
    form: one of `FORMATS`, or "" for the format of the name's ending, else h5.

  Raises:
    ArgumentError: the `format` is unknown, or the name has the ending of another one.
    UserError: the file exists, or a package to write it is missing.
  """
  _, suffix = split_name(path)
  named = next((form for form, endings in FORMATS.items() if suffix in endings), "")
  form = form or named or "h5"
  if form not in FORMATS:
    raise unknown("format", form, FORMATS)
  if named != form and (named or form == "nifti"):
    endings = " or ".join(FORMATS[form])
    expected = f"{named or 'h5'}, or a name that ends in {endings}"
    raise ArgumentError("format", f"{form} for {path.name}", expected)
  files = list(cfl.pair(path)) if form == "cfl" else [path]
  for file in files if form == "h5" else [*files, sidecar(path)]:
    if file.exists():
      raise UserError(file, "a file there", "a new file", "Choose another name.")
  if form == "nifti":
    require("nibabel", "data", path, "NIfTI to be written")
  return form


def write(
  path: pathlib.Path,
  images: Mapping[str, np.ndarray],
  record: Mapping[str, Any],
  form: str,
  header: RawHeader = NO_HEADER,
  provenance: Mapping[str, Any] = {},
) -> None:
  """Writes a scan completely, or not at all.

  "h5" holds all images under their names, and the header. Its attribute "units" is
  "file": they are in the units of the input file, not scaled as for a network. NIfTI
  and cfl hold the reconstruction alone, with axes in the order of the input file. NIfTI
  has the matrix of a NIfTI or DICOM input; other inputs have no known position, and the
  file has no matrix.

  Args:
    path: the file.
    images: "reconstruction" and others, float32 [S, H, W].
    record: of the input, see `data.Volume`: file, source, and, where known, zooms,
      affine and slices_along_dimension.
    form: one of `FORMATS`.
    header: metadata of the input file.
    provenance: how the images were made, see `account.Account.record`; JSON in the
      attribute "provenance" of h5, and in the file of `sidecar` beside others.

  Raises:
    UserError: it cannot be written, or nibabel is not installed.
  """
  image = images["reconstruction"]
  if form == "h5":
    attributes = {"units": "file"} | dict(header.attributes)
    if provenance:
      attributes["provenance"] = json_text.dumps(provenance)
    write_h5(path, images, header._replace(attributes=attributes))
  elif form == "nifti":
    name = record.get("source")
    axes = find_source(name).axes if name else SLICES_LAST
    write_nifti(path, image, record, axes)
  else:
    along = record.get("slices_along_dimension", 13)
    cfl.write_cfl(path, cfl.image_in_bart_order(image, along))
  if provenance and form != "h5":
    with replacing(sidecar(path)) as temporary:
      temporary.write_text(json_text.dumps(provenance, indent=2) + "\n")


def sidecar(path: pathlib.Path) -> pathlib.Path:
  """The JSON file beside a NIfTI or cfl file: NAME.json."""
  return path.with_name(f"{split_name(path)[0]}.json")
