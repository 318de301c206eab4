"""Measured k-space as slices of a network."""

from typing import Any

import numpy as np
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.data import spool
from kdmri_jax.data.input_scale import InputScale
from kdmri_jax.data.slice_set import to_channels
from kdmri_jax.data.spool import Spool
from kdmri_jax.errors import UserError
from kdmri_jax.models import contract
from kdmri_jax.physics.coils import adjoint
from kdmri_jax.types import Slices

_MOST_IMAGINARY = 0.05


def slices_of_kspace(
  kspace: np.ndarray | Spool,
  mask: np.ndarray,
  model: nn.Module,
  where: Any,
  input_scale: InputScale,
  sensitivities: np.ndarray | Spool | None = None,
) -> tuple[Slices, float]:
  """Slices without a target, in the scale of the network.

  Args:
    kspace: measured k-space, complex [S, H, W], of several coils [S, C, H, W]; 0 where
      not sampled.
    mask: [H, W], 1 = sampled.
    model: the network; of two channels for several coils.
    where: the file, for errors.
    input_scale: that of the network's training.
    sensitivities: of the coils, complex [S, C, H, W]; None for one coil.

  Returns:
    The slices, and the divisor.

  Raises:
    UserError: the network has one channel, and this is k-space of several coils; or
      of complex images, of which its data consistency would take the real part.
  """
  channels = models.channels(model)
  if channels == 1 and sensitivities is not None:
    found, expected = (
      "k-space of several coils",
      "that of one: the network has 1 channel",
    )
    remedy = "Use a network of two channels, or combine the coils."
    raise UserError(where, found, expected, remedy)
  if channels == 1:
    _refuse_phase(kspace, mask, model, where)
  if sensitivities is None:
    image = np.fft.ifft2(kspace, norm="ortho").astype(np.complex64)
  else:
    pairs = zip(kspace, sensitivities, strict=True)
    image = np.stack([adjoint(*pair, mask) for pair in pairs])
  scale = float(input_scale.divisor(np.abs(image)))
  image = image / scale
  zero_filled = to_channels(np.abs(image) if channels == 1 else image, channels)
  # The target only gives the shape; with k-space nothing is simulated.
  every = slice(None)
  kspace = spool.each(kspace, every, lambda row: (row / scale).astype(np.complex64))
  if sensitivities is None:
    return Slices(zero_filled, kspace, zero_filled), scale
  maps = spool.each(sensitivities, every, lambda row: row.astype(np.complex64))
  return Slices(zero_filled, kspace, sensitivities=maps), scale


def _refuse_phase(kspace, mask: np.ndarray, model: nn.Module, path) -> None:
  """Checks whether k-space at -k is conjugate to that at k, where both are sampled."""

  def mirrored(array):
    return np.roll(array[..., ::-1, ::-1], (1, 1), (-2, -1))

  both = (mask * mirrored(mask)).astype(bool)
  odd = (kspace - np.conj(mirrored(kspace)))[:, both]
  whole = np.square(np.abs(kspace[:, both]), dtype=np.float64).sum()
  share = np.square(np.abs(odd), dtype=np.float64).sum() / max(4 * whole, 1e-300)
  if share > _MOST_IMAGINARY and contract.reads_kspace(model):
    found = f"k-space of a complex image ({share:.0%} of its energy is imaginary)"
    expected = "k-space of a real image: the network has one channel"
    remedy = "Use a network of two channels, trained on complex images."
    raise UserError(path, found, expected, remedy)
