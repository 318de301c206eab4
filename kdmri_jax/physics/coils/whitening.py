"""Noise of the coils: its covariance, and coils whose noise is independent."""

import numpy as np
import scipy

from kdmri_jax.errors import ArgumentError


def noise_covariance(noise: np.ndarray) -> np.ndarray:
  """The covariance of the coils' noise, mean of n n^H over the samples.

  Args:
    noise: samples without signal, complex [C, N] or [C, ...], more than coils.

  Returns:
    complex [C, C], Hermitian.

  Raises:
    ArgumentError: there are fewer samples than coils.
  """
  samples = np.asarray(noise).reshape(len(noise), -1)
  if samples.shape[1] < len(samples):
    found = f"{samples.shape[1]} samples of {len(samples)} coils"
    raise ArgumentError("noise", found, "at least as many samples as coils")
  samples = samples.astype(np.complex128)
  return samples @ samples.conj().T / samples.shape[1]


def prewhiten(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
  """Mixes the coils so that their noise is independent, with variance 1.

  L^-1 v, where L L^H is the Cholesky factorisation of the covariance. Mix k-space and
  sensitivities alike, or estimate the sensitivities from k-space that has been mixed.

  Args:
    values: k-space or sensitivities, complex [..., C, H, W].
    covariance: of the noise, complex [C, C].

  Returns:
    Same shape and type.

  Raises:
    ArgumentError: the values have another rank, or the covariance has another size or
      is not positive definite.

  Source: Pruessmann et al. 2001, appendix A.
  """
  values = np.asarray(values)
  if values.ndim < 3:
    raise ArgumentError("values", f"shape {values.shape}", "[..., C, H, W]")
  coils = values.shape[-3]
  if np.shape(covariance) != (coils, coils):
    found = f"shape {np.shape(covariance)}"
    raise ArgumentError("covariance", found, f"[{coils}, {coils}], as many as coils")
  try:
    factor = np.linalg.cholesky(covariance)
    if not np.isfinite(factor).all():
      raise np.linalg.LinAlgError("NaN or infinite values")
  except np.linalg.LinAlgError as error:
    found, remedy = "a matrix that is not positive definite", "Measure more noise."
    expected = "the covariance of coils none of which is a mixture of the others"
    raise ArgumentError("covariance", found, expected, remedy) from error
  mixing = scipy.linalg.solve_triangular(factor, np.eye(coils), lower=True)
  return np.einsum("cd,...dhw->...chw", mixing, values).astype(values.dtype)
