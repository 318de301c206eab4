"""The data sources by name; a new source is one file and one line in the table."""

from kdmri_jax.data.source import Source
from kdmri_jax.data.sources import (
  acdc,
  arrays,
  bart,
  calgary_campinas,
  dicom,
  fastmri,
  hammernik,
  ismrmrd,
  ixi,
  kdmri,
  mni152,
  mrbrains,
  phantom,
  pictures,
  prepared,
  variables,
)
from kdmri_jax.errors import ArgumentError
from kdmri_jax.lookup import find

SOURCES: dict[str, Source] = {
  "phantom": phantom.SOURCE,
  "mni152": mni152.SOURCE,
  "h5": arrays.H5,
  "nifti": arrays.NIFTI,
  "npz": arrays.NPZ,
  "npy": arrays.NPY,
  "acdc": acdc.SOURCE,
  "mrbrains13": mrbrains.MRBRAINS_13,
  "mrbrains18": mrbrains.MRBRAINS_18,
  "ixi": ixi.SOURCE,
  "calgary_campinas": calgary_campinas.SINGLE,
  "fastmri": fastmri.SOURCE,
  "hammernik": hammernik.SOURCE,
  "calgary_multi": calgary_campinas.MULTI,
  "kdmri": kdmri.SOURCE,
  "bart": bart.SOURCE,
  "ismrmrd": ismrmrd.SOURCE,
  "dicom": dicom.SOURCE,
  "images": pictures.SOURCE,
  "arrays": variables.SOURCE,
  "prepared": prepared.SOURCE,
}
# Sources that can train networks.
TRAINING = {name: source for name, source in SOURCES.items() if source.volumes}


def find_source(name: str, *, training: bool = False) -> Source:
  """The source of a name.

  Args:
    name: a key of `SOURCES`, or the import path `package.module:name` of a `Source`.
    training: whether its volumes are used for training.

  Raises:
    ArgumentError: `source` is unknown, or not a source.
  """
  source = find("source", name, TRAINING if training else SOURCES)
  if not isinstance(source, Source) or (training and source.volumes is None):
    found = f"{name!r}, of type {type(source).__name__}"
    expected = "a kdmri_jax.data.Source" + (" with `volumes`" if training else "")
    raise ArgumentError("source", found, expected)
  return source
