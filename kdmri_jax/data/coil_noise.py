"""The noise of a scan's coils, which prewhitens the coils that are kept."""

import pathlib

import numpy as np

from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import walk
from kdmri_jax.io.numpy_files import read_npy
from kdmri_jax.io.reading import refuse_missing
from kdmri_jax.physics.coils import noise_covariance

SUFFIX = "_noise"


def read_beside(path: pathlib.Path) -> tuple[pathlib.Path, np.ndarray | None]:
  """The samples in the file NAME_noise.npy beside a scan NAME.

  Args:
    path: the scan's file or folder.

  Returns:
    The file, and its samples of noise alone, complex [C, N]; None where there is none.

  Raises:
    UserError: the file is damaged or holds something else.
  """
  path = path.absolute()
  stem = path.name if path.is_dir() else path.stem
  file = walk.present(path.with_name(f"{stem}{SUFFIX}.npy"))
  refuse_missing(file)
  if not file.is_file():
    return file, None
  samples = read_npy(file)
  if samples.ndim != 2 or samples.dtype.kind != "c":
    found = f"{samples.dtype} numbers of shape {samples.shape}"
    expected = f"complex samples (coils, samples) of the noise of {path}"
    raise UserError(file, found, expected, "Store them so, or remove the file.")
  return file, samples


def covariance(samples: np.ndarray, coils: int, path: pathlib.Path) -> np.ndarray:
  """The covariance of the coils' noise, of a mean variance of 1.

  Args:
    samples: of noise alone, complex [C, N].
    coils: those of the scan.
    path: the file of the samples.

  Returns:
    complex [C, C], Hermitian.

  Raises:
    UserError: other coils, samples that are not finite, or coils that are not
      independent.
  """
  found = f"noise of {len(samples)} coils"
  expected = f"those of {coils} coils"
  if not np.isfinite(samples).all():
    found, expected = "NaN or infinite values in the noise", "finite numbers"
  elif len(samples) == coils:
    try:
      own = noise_covariance(samples)
      np.linalg.cholesky(own)
      return own * (coils / np.trace(own).real)
    except (ArgumentError, np.linalg.LinAlgError):
      found = f"{samples.shape[1]} samples of noise, in which coils are dependent"
      expected = f"independent noise of {coils} coils, many samples"
  remedy = "Measure the noise again, or combine the coils."
  raise UserError(path, found, expected, remedy)
