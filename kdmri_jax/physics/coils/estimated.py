"""Sensitivities estimated from the fully sampled centre of k-space."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics.masks.describe import centre_side, middle, phase_encode_axis

METHODS = ("espirit", "low_resolution")
SIDE = 24  # rows and columns of the centre that calibrates, where there are as many
_KERNEL = 6  # rows and columns of ESPIRiT's kernels; at most half of the centre's
_THRESHOLD = 0.02  # singular values below this part of the largest are noise
_CROP = 0.9  # pixels with a smaller eigenvalue have no signal
_BLOCK = 1 << 18  # pixels times coils whose eigenvectors are computed together


def estimate(kspace: np.ndarray, method: str = "espirit") -> np.ndarray:
  """The sensitivities of coils from the centre of their k-space.

  The centre is the largest block about zero frequency without a point that is zero in
  all coils, of at most 24 x 24 points; with fewer lines than 24 it is longer along the
  readout axis.

  Args:
    kspace: complex [C, H, W], zero frequency at [0, 0]; 0 where not sampled.
    method: "espirit", or "low_resolution" for the images of the centre, tapered by a
      Hann window, over their root sum of squares.

  Returns:
    complex64 [C, H, W]. Their root sum of squares is 1; with "espirit" it is 0 where
    there is no signal, and the phase is relative to the coils' main mixture.

  Raises:
    ArgumentError: another method, another rank, values that are not finite, or too
      small a centre.

  Source: Uecker et al. 2014 (ESPIRiT); McKenzie et al. 2002 (low resolution).
  """
  if method not in METHODS:
    expected = f"one of {', '.join(map(repr, METHODS))}"
    raise ArgumentError("method", repr(method), expected)
  kspace = np.asarray(kspace)
  if kspace.ndim != 3:
    raise ArgumentError("kspace", f"shape {kspace.shape}", "[C, H, W]")
  if not np.isfinite(kspace).all():
    raise ArgumentError("kspace", "NaN or infinite values", "finite numbers")
  least = 4 if method == "espirit" else 2
  centre = _centre(kspace)
  if min(centre.shape[1:]) < least:
    rows, columns = centre.shape[1:]
    found = f"a fully sampled centre of {rows}x{columns}"
    raise ArgumentError("kspace", found, f"at least {least}x{least}")
  function = _espirit if method == "espirit" else _low_resolution
  return function(centre, kspace.shape[1:]).astype(np.complex64)


def centre_shape(sampled: np.ndarray) -> tuple[int, int]:
  """Rows and columns of the centre that calibrates, see `estimate`.

  Args:
    sampled: bool [H, W], zero frequency at [0, 0].
  """
  axis = phase_encode_axis(sampled)
  shape = list(sampled.shape)
  if axis is None:
    shape = [min(centre_side(np.fft.fftshift(sampled)), SIDE)] * 2
  else:
    line = sampled[:, 0] if axis == 0 else sampled[0]
    shape[axis] = min(centre_side(np.fft.fftshift(line)), SIDE)
    shape[1 - axis] = min(shape[1 - axis], SIDE**2 // max(shape[axis], 1))
  return shape[0], shape[1]


def _centre(kspace):
  """The block that calibrates, complex128 [C, h, w], zero frequency in its middle."""
  shape = centre_shape((kspace != 0).any(0))
  centred = np.fft.fftshift(kspace, (-2, -1))
  sizes = zip(kspace.shape[1:], shape, strict=True)
  block = (middle((n,), side)[0] for n, side in sizes)
  return centred[:, *block].astype(np.complex128)


def _low_resolution(centre, shape):
  rows, columns = (
    np.cos(np.pi * _about_zero(n) / (n + 1)) ** 2 for n in centre.shape[1:]
  )
  images = _transform(centre * rows[:, None] * columns, shape)
  root = np.sqrt((np.abs(images) ** 2).sum(0))
  return np.divide(images, root, out=np.zeros_like(images), where=root > 0)


def _espirit(centre, shape):
  """The eigenvectors of eigenvalue 1 of the operator that keeps consistent k-space.

  The operator projects each window of k-space on those that the centre contains, and
  averages the windows. It is a convolution, so in image space a matrix per pixel.
  """
  coils, side = len(centre), min(_KERNEL, min(centre.shape[1:]) // 2)
  windows = sliding_window_view(centre, (side, side), (1, 2))
  windows = windows.transpose(0, 3, 4, 1, 2).reshape(coils * side**2, -1)
  values, vectors = np.linalg.eigh(windows @ windows.conj().T)
  vectors = vectors[:, values > _THRESHOLD**2 * values[-1]]
  project = (vectors @ vectors.conj().T).reshape(coils, side, side, coils, side, side)
  kernel = np.zeros((coils, coils, 2 * side - 1, 2 * side - 1), complex)
  for r, c in np.ndindex(side, side):  # a place in the window, from all places in it
    there = project[:, r, c, :, ::-1, ::-1]
    kernel[:, :, r : r + side, c : c + side] += there / side**2
  mixture = np.linalg.eigh(np.einsum("chw,dhw->cd", centre, centre.conj()))[1][:, -1]
  maps = np.empty((coils, *shape), np.complex64)
  rows = max(1, _BLOCK // (shape[1] * coils))
  for start in range(0, shape[0], rows):
    part = slice(start, start + rows)
    matrices = _transform(kernel, shape, part).astype(np.complex64)
    matrices = matrices.transpose(2, 3, 0, 1)
    # The Frobenius norm bounds the eigenvalues: most pixels of air need no more.
    inside = np.linalg.norm(matrices, axis=(-2, -1)) > 0.99 * _CROP
    values, vectors = np.linalg.eigh(matrices[inside])
    found = np.zeros(matrices.shape[:3], np.complex64)
    found[inside] = np.where(values[..., -1:] > _CROP, vectors[..., -1], 0)
    phase = np.exp(-1j * np.angle(found @ mixture.conj()))
    maps[:, part] = (found * phase[..., None]).transpose(2, 0, 1)
  return maps


def _transform(coefficients, shape, rows=slice(None)):
  """Images of k-space about zero frequency, [..., h, w] -> [..., H, W] or some rows."""
  along_rows, along_columns = map(_waves, coefficients.shape[-2:], shape)
  return along_rows[:, rows].T @ (coefficients @ along_columns)


def _waves(count, size):
  """exp(2 pi i m n / N) for m about 0, [count, N]."""
  return np.exp(2j * np.pi * np.outer(_about_zero(count), np.arange(size)) / size)


def _about_zero(count):
  return np.arange(count) - count // 2
