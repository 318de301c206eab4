"""Files of one NumPy array."""

import pathlib

import numpy as np

from kdmri_jax.io.reading import reading


def read_npy(path: pathlib.Path) -> np.ndarray:
  """Reads one array; one of two axes gets a first axis of one slice.

  Raises:
    UserError: the file is damaged, or holds Python objects.
  """
  with reading(path):
    array = np.load(path, allow_pickle=False)
  return array[None] if array.ndim == 2 else array
