"""A trained network as one function from the measurement to the image.

Zero-filling, scaling and data consistency are part of the function, which does the same
as `inference.reconstruct` for a scan.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.models import bands
from kdmri_jax.physics.undersample import zero_fill
from kdmri_jax.types import Array, Measurement


def reads_kspace(model: nn.Module, params: Mapping[str, Any]) -> bool:
  """Whether a network needs the measurement: one with data consistency does.

  Args:
    model: the network.
    params: its parameters.
  """
  image = jax.ShapeDtypeStruct((1, 32, 32, models.channels(model)), jnp.float32)
  try:
    jax.eval_shape(model.apply, {"params": params}, image, None)
  except Exception:  # the user's network may raise any exception
    return True
  return False


def line_axis(model: nn.Module) -> int | None:
  """The phase-encode axis of the only masks that a network can be used with.

  Returns:
    0 or 1 where its data consistency has a form for Cartesian masks; None where it
    takes any mask.
  """
  form = getattr(model, "consistency", "")
  return int(form[-1]) if form[-1:] in ("0", "1") else None


def make(
  model: nn.Module, params: Mapping[str, Any], *, scaled: bool = True
) -> Callable[..., Array]:
  """The function that is exported. For a network that needs the measurement it is

    (kspace, complex64 [B, H, W]; mask, [H, W]) -> image, float32 [B, H, W, C],

  with k-space in any unit, zero frequency at [0, 0], ignored where the mask is 0. The
  image has that unit. A mask that varies along the readout axis, for which the
  network's data consistency has no form, gives an image of NaN. For other networks it
  is

    (image, float32 [B, H, W, C]) -> image, float32 [B, H, W, C],

  which takes the magnitude of an image of one channel, as of zero-filled images.

  Args:
    model: the network.
    params: its parameters.
    scaled: whether the batch, which should be a volume, is divided by its largest
      magnitude for the network, as a run with `data.scaling="volume_max"` does.
  """
  channels, axis = models.channels(model), line_axis(model)

  def reconstruct(kspace, mask):
    sampled = mask != 0
    kspace = jnp.where(sampled, kspace, 0)
    scale = _largest(zero_fill(Measurement(kspace, mask), channels)) if scaled else 1.0
    measurement = Measurement(kspace / scale, mask)
    zero_filled = zero_fill(measurement, channels)
    image = bands.apply(model, params, zero_filled, measurement).image
    if axis is not None:
      readout = 1 - axis
      fits = jnp.all(sampled.any(readout) == sampled.all(readout))
      image = jnp.where(fits, image, jnp.nan)
    return scale * image

  def enhance(image):
    image = jnp.abs(image) if channels == 1 else image
    scale = _largest(image) if scaled else 1.0
    return scale * bands.apply(model, params, image / scale, None).image

  return reconstruct if reads_kspace(model, params) else enhance


def _largest(image: Array) -> Array:
  """The largest magnitude; 1 for an image without signal."""
  largest = jnp.linalg.norm(image, axis=-1).max()
  return jnp.where(largest > 0, largest, 1.0)
