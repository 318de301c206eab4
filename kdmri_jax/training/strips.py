"""One image on several devices, in strips.

A convolutional network looks no further than its convolutions reach, and the data
consistency of a Cartesian mask mixes the pixels of a line along the phase-encode axis
alone. So strips across the other axis, with the margin that the network looks over,
are reconstructed apart from each other and give the same image.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics import fourier
from kdmri_jax.training import parallel, step
from kdmri_jax.training.networks import complete
from kdmri_jax.types import Acquisition, Batch, Measurement, Slices


class Reach(NamedTuple):
  """How a network can be cut.

  Attributes:
    axis: 1 to cut between rows, 2 between columns, of [B, H, W, C].
    pixels: how far along it an output pixel depends on the input.
  """

  axis: int
  pixels: int


def reach(model: nn.Module) -> Reach | None:
  """Where a network can be cut; None where it needs whole images."""
  if type(model) is VDSR:
    return Reach(1, model.convolutions)
  if type(model) is DCCNN and model.consistency.startswith(("line", "matrix")):
    phase_encode = int(model.consistency[-1])
    return Reach(2 - phase_encode, model.cascades * model.convolutions)
  return None


def make_predict(model: nn.Module, devices: Sequence[jax.Device]) -> Callable:
  """As `step.make_predict`, for one image at a time and a network with a `reach`."""
  axis, margin = reach(model)

  @jax.jit
  def cut(slices: Slices, acquisition: Acquisition):
    batch = complete(slices, acquisition)
    length = batch.zero_filled.shape[axis]
    own = -(-length // len(devices))
    cuts = min(len(devices) - 1, 2)  # of a strip
    size = min(length, own + cuts * margin)
    starts = [min(max(k * own - margin, 0), length - size) for k in range(len(devices))]

    def pieces(x):
      parts = [jax.lax.slice_in_dim(x, s, s + size, axis=axis) for s in starts]
      return jnp.concatenate(parts)

    measured = pieces(fourier.ifft2(batch.measurement.kspace))
    mask = jnp.asarray(batch.measurement.mask)
    mask = jax.lax.slice_in_dim(mask, 0, size, axis=axis - 1)
    measurement = Measurement(fourier.fft2(measured), mask)
    return batch.zero_filled, Batch(None, pieces(batch.zero_filled), measurement)

  def apply(params, image, kspace, mask):
    return model.apply({"params": params}, image, Measurement(kspace, mask)).image

  mapped = parallel.compile_step(
    apply, devices, split=(False, True, True, False), out_axes=0
  )

  def predict(params: Any, slices: Slices, acquisition: Acquisition):
    zero_filled, batch = cut(slices, acquisition)
    images = mapped(params, batch.zero_filled, *batch.measurement)
    length, size = zero_filled.shape[axis], images.shape[axis]
    own = -(-length // len(devices))
    parts = []
    for k, image in enumerate(np.asarray(images)):
      start = min(max(k * own - margin, 0), length - size)
      inside = slice(k * own - start, min((k + 1) * own, length) - start)
      parts.append(image[inside] if axis == 1 else image[:, inside])
    return zero_filled, np.concatenate(parts, axis=axis - 1)[None], ()

  return predict


def predict_on_all(model: nn.Module, batch_size: int) -> Callable:
  """`step.make_predict` on all devices: slices divided, a single one in strips."""
  if batch_size == 1 and reach(model) and len(jax.local_devices()) > 1:
    return make_predict(model, jax.local_devices())
  return step.make_predict(model, parallel.choose_devices(0, batch_size))
