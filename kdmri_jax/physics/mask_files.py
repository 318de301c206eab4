"""Masks from files, such as KD-MRI's `mask_4x.npy`; a wrong orientation is refused."""

import os

import numpy as np

from kdmri_jax.errors import UserError
from kdmri_jax.physics.pattern import (
  centre_side,
  is_cartesian,
  phase_encode_axis,
)


def load(
  path: str | os.PathLike, shape: tuple[int, int], axis: int | None = None
) -> np.ndarray:
  """Reads a mask, such as KD-MRI's `mask_4x.npy`, and refuses a wrong orientation.

  Args:
    path: .npy file, [H, W], 0 and 1 in any numeric or bool type, uncentred.
    shape: rows and columns of the images that it is for.
    axis: phase-encode axis that a Cartesian mask must have; None takes either.

  Returns:
    Mask, uint8 [H, W].

  Raises:
    UserError: the path is empty; the file is missing, truncated or no .npy file; its
      shape or phase-encode axis differs; it is centred; a value is neither 0 nor 1.
  """
  mask = _binary(path, _read(path))
  if mask.shape != tuple(shape):
    remedy = "Choose the mask for these images."
    if mask.shape == tuple(shape)[::-1]:
      remedy = "The transposed mask (mask.T) would fit; save that one."
    raise UserError(path, f"shape {mask.shape}", f"shape {tuple(shape)}", remedy)
  expected = "the low frequencies sampled about [0, 0]"
  if _is_centred(mask):
    found, remedy = "a centred mask", "Save numpy.fft.ifftshift(mask)."
    raise UserError(path, found, expected, remedy)
  if not mask[0, 0]:
    found, remedy = "zero frequency not sampled", "Use a mask with a sampled centre."
    raise UserError(path, found, expected, remedy)
  found = phase_encode_axis(mask)
  if axis is not None and found is not None and not is_cartesian(mask, axis):
    raise UserError(
      path,
      f"phase-encode axis {found}",
      f"axis {axis}",
      f"Save mask.T if it is transposed, or set config.mask.axis={found}.",
    )
  return mask


def _read(path: str | os.PathLike) -> np.ndarray:
  if not os.fspath(path):
    remedy = "Name it with --config.mask.path=FILE, or choose another mask.kind."
    raise UserError("config.mask.path", "no file", "a mask file (.npy)", remedy)
  try:
    with open(path, "rb") as file:
      return np.lib.format.read_array(file, allow_pickle=False)
  except OSError as error:
    found = error.strerror or "unreadable"
    remedy = "Mend the path, config.mask.path."
    raise UserError(path, found, "a mask file (.npy)", remedy) from error
  except (ValueError, EOFError, MemoryError) as error:
    found = f"no complete .npy array ({error})"
    remedy = "Save the mask again with numpy.save."
    raise UserError(path, found, "a .npy file of numbers", remedy) from error


def _binary(path: str | os.PathLike, mask: np.ndarray) -> np.ndarray:
  expected, remedy = "an array [H, W] of 0 and 1", "Save the mask as 0 and 1."
  if mask.ndim != 2 or mask.dtype.kind not in "buif" or not mask.size:
    found = f"an array of shape {mask.shape} and type {mask.dtype}"
    raise UserError(path, found, expected, remedy)
  if not np.isfinite(mask).all():
    raise UserError(path, "NaN or infinite values", expected, remedy)
  wrong = mask[(mask != 0) & (mask != 1)]
  if wrong.size:
    raise UserError(path, f"the value {wrong[0]}", expected, remedy)
  return mask.astype(np.uint8)


def _is_centred(mask: np.ndarray) -> bool:
  """Whether the low frequencies are sampled in the middle rather than at [0, 0].

  The middle is the denser part, and it has the larger fully sampled block, by more
  lines than chance gives in one of twenty random masks of this density.
  """
  zero = np.fft.fftshift(mask)
  if not mask[0, 0]:
    return centre_side(mask) > 0
  chance = float(mask.mean()) ** (centre_side(mask) - centre_side(zero))
  return chance < 0.05 and _density(mask) > _density(zero)


def _density(centred: np.ndarray) -> float:
  """Sampled share of the lower half of the frequencies of each axis."""
  side = tuple(slice(n // 4, n - n // 4) for n in centred.shape)
  return float(centred[side].mean())
