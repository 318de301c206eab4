"""One image on several devices, in strips.

A convolutional network looks no further than its convolutions reach, and the data
consistency of a Cartesian mask mixes the pixels of a line along the phase-encode axis
alone. So strips across the other axis, with the margin that the network looks over,
are reconstructed apart from each other and give the same image.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax.models import rolling
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.training import parallel, step
from kdmri_jax.training.networks import complete
from kdmri_jax.types import Acquisition, Array, Measurement, Slices


class Reach(NamedTuple):
  """How a network can be cut.

  Attributes:
    axis: 1 to cut between rows, 2 between columns, of [B, H, W, C].
    pixels: how far along it an output pixel of one part depends on the part's input.
    parts: of the network, one after the other, with only an image in between.
  """

  axis: int
  pixels: int
  parts: int


def reach(model: nn.Module) -> Reach | None:
  """Where a network can be cut; None where it needs whole images."""
  if type(model) is VDSR:
    return Reach(1, model.convolutions, 1)
  if type(model) is DCCNN and model.consistency.startswith(("line", "matrix")):
    phase_encode = int(model.consistency[-1])
    return Reach(2 - phase_encode, model.convolutions, model.cascades)
  return None


class Strips(NamedTuple):
  """How the lines of an image are divided.

  All strips are as large, and so are all shares: the last shares of an image that does
  not divide evenly overlap.

  Attributes:
    share: lines that a device owns.
    size: lines of its strip.
    own: for each device, the first line that it owns.
    start: for each device, the first line of its strip.
  """

  share: int
  size: int
  own: tuple[int, ...]
  start: tuple[int, ...]


def divide(length: int, count: int, margin: int) -> Strips:
  """Divides an image.

  Args:
    length: lines of the image.
    count: devices.
    margin: lines of a strip on each side of the device's own, where the image goes on.
  """
  share = -(-length // count)
  size = min(length, share + min(count - 1, 2) * margin)
  own = tuple(min(k * share, length - share) for k in range(count))
  start = tuple(min(max(k - margin, 0), length - size) for k in own)
  return Strips(share, size, own, start)


def make_predict(model: nn.Module, devices: Sequence[jax.Device]) -> Callable:
  """As `step.make_predict`, for one image at a time and a network with a `reach`.

  Each device computes a strip: its share of the lines and the margin that the next part
  of the network looks over. After each part the devices exchange their shares.
  """
  axis, margin, parts = reach(model)

  def compute(params, slices: Slices, acquisition: Acquisition, numbers: Array):
    batch = complete(slices, acquisition)
    image, (kspace, mask) = batch.zero_filled, batch.measurement
    strips = divide(image.shape[axis], len(devices), margin)
    own, start = (jnp.array(x)[numbers[0]] for x in (strips.own, strips.start))

    def cut(x):
      return jax.lax.dynamic_slice_in_dim(x, start, strips.size, axis)

    mask = jax.lax.slice_in_dim(jnp.asarray(mask), 0, strips.size, axis=axis - 1)
    lines = cut(jnp.fft.ifft(kspace, axis=axis, norm="ortho"))
    measurement = Measurement(jnp.fft.fft(lines, axis=axis, norm="ortho"), mask)
    for part in range(1, parts + 1):
      strip = _part(model, part, params, cut(image), measurement)
      share = jax.lax.dynamic_slice_in_dim(strip, own - start, strips.share, axis)
      image = _join(parallel.gather(jnp.moveaxis(share, axis, 0)), strips, axis)
    return batch.zero_filled, image, ()

  mapped = parallel.compile_step(
    compute, devices, split=(False, False, False, True), out_axes=None
  )

  def predict(params, slices: Slices, acquisition: Acquisition):
    return mapped(params, slices, acquisition, np.arange(len(devices)))

  return predict


def _part(model, part: int, params, image: Array, measurement: Measurement) -> Array:
  options = {}
  if type(model) is DCCNN:
    model, options = model.clone(cascades=part), {"first": part}

  def roll(params, image, measurement):
    return rolling.apply(model, params, image, measurement, **options).image

  def layer_by_layer(params, image, measurement):
    return model.apply({"params": params}, image, measurement, **options).image

  return jax.lax.platform_dependent(
    params, image, measurement, cpu=roll, default=layer_by_layer
  )


def _join(shares: Array, strips: Strips, axis: int) -> Array:
  """The image, from the shares of all devices one after the other."""
  starts = range(0, len(shares), strips.share)
  parts = [
    shares[start + max(start - own, 0) : start + strips.share]
    for start, own in zip(starts, strips.own, strict=True)
  ]
  return jnp.moveaxis(jnp.concatenate(parts), 0, axis)


def predict_on_all(
  model: nn.Module, batch_size: int
) -> tuple[Callable, Sequence[jax.Device]]:
  """`step.make_predict` on all devices: slices divided, a single one in strips.

  Returns:
    The function, and the devices on which its arguments may be placed beforehand.
  """
  devices = jax.local_devices()
  if batch_size == 1 and len(devices) > 1 and reach(model):
    return make_predict(model, devices), devices
  devices = parallel.choose_devices(0, batch_size)
  return step.make_predict(model, devices), devices
