"""Datasets of HDF5 files."""

import pathlib

import h5py
import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import refuse_huge


def h5_array(file: h5py.File, key: str) -> np.ndarray:
  """One dataset of an open h5 file.

  Raises:
    UserError: the key is missing; the message lists the keys that there are. Or the
      dataset is larger than this machine's memory.
  """
  dataset = h5_dataset(file, key)
  refuse_huge(pathlib.Path(file.filename), dataset.shape or (), dataset.dtype.itemsize)
  return np.asarray(dataset[()])


def h5_dataset(file: h5py.File, key: str) -> h5py.Dataset:
  """As `h5_array`, but nothing is read yet: index it to read a part."""
  if not isinstance(file.get(key), h5py.Dataset):
    keys = ", ".join(sorted(file)) or "none"
    raise UserError(
      file.filename,
      f"no dataset {key!r} (the keys are: {keys})",
      f"a dataset {key!r}",
      "Check that the file belongs to this data source and this acceleration.",
    )
  return file[key]
