"""Files of one NumPy array."""

import os

import numpy as np

from kdmri_jax.io.reading import reading


def read_npy(path: str | os.PathLike) -> np.ndarray:
  """Reads one array, without pickles.

  Raises:
    UserError: the file is damaged, or holds Python objects.
  """
  with reading(path), open(path, "rb") as file:
    return np.lib.format.read_array(file, allow_pickle=False)
