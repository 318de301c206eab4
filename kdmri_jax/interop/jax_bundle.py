"""Networks as bundles of `jax.export`, which run without this package.

A bundle is one function from the measurement to the image. Zero-filling, scaling and
data consistency are part of it, so it does the same as `inference.reconstruct`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import export

from kdmri_jax import models
from kdmri_jax.data.input_scale import LARGEST, InputScale
from kdmri_jax.errors import UserError
from kdmri_jax.models import bands
from kdmri_jax.models.contract import reads_kspace
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.optional import require
from kdmri_jax.physics import consistency
from kdmri_jax.physics.undersample import zero_fill
from kdmri_jax.saving import replacing
from kdmri_jax.types import Array, Measurement

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

_ANY_SIZE = (EDSR, VDSR)  # convolutions alone


def save_jax_bundle(
  path: str | os.PathLike,
  model: nn.Module,
  params: Mapping[str, Any],
  size: tuple[int, int],
  input_scale: InputScale = LARGEST,
) -> str:
  """Writes a network with its physics and scaling as one function of JAX.

  `jax.export.deserialize(file).call(...)` runs the network's `whole_function`
  with only JAX and flatbuffers installed, on any of `PLATFORMS`. The batch size is
  free. JAX guarantees that releases of the next six months read the file.

  With jaxlib 0.11 on a CPU, calls from several threads can wait for each other forever
  (see `xla_flags`): XLA_FLAGS must have --xla_cpu_multi_thread_eigen=false before JAX
  is used.

  Args:
    path: the file, which is replaced.
    model: the network.
    params: its parameters.
    size: rows and columns of the slices; a VDSR or EDSR takes any.
    input_scale: see `whole_function`.

  Returns:
    A message: the network written, and how the function is called.

  Raises:
    UserError: the package flatbuffers is missing, the network cannot be traced, or the
      file cannot be written.
  """
  require("flatbuffers", "export", path, "a bundle to be written")
  function = whole_function(model, params, input_scale)
  channels = models.channels(model)
  if reads_kspace(model):
    (batch,) = export.symbolic_shape("batch")
    arguments = {
      "kspace": jax.ShapeDtypeStruct((batch, *size), jnp.complex64),
      "mask": jax.ShapeDtypeStruct(size, jnp.uint8),
    }
  else:
    names = "batch, rows, columns" if type(model) in _ANY_SIZE else "batch"
    shape = (*export.symbolic_shape(names), *size)[:3]
    arguments = {"image": jax.ShapeDtypeStruct((*shape, channels), jnp.float32)}
  write = export.export(jax.jit(function), platforms=PLATFORMS)
  try:
    exported = write(*arguments.values())
  except Exception as error:  # the user's network may raise any exception
    found = f"a {type(model).__name__} that cannot be traced for a batch of any length"
    found += f" ({type(error).__name__}: {error})"
    expected = "a network that never asks for the batch's length as a number"
    remedy = "Correct its __call__, such as reshape(-1, ...) in place of the length."
    raise UserError(path, found, expected, remedy) from error
  with replacing(path) as temporary:
    temporary.write_bytes(exported.serialize())
  texts = [f"{name} {_text(value)}" for name, value in arguments.items()]
  call = f"Call it with {', '.join(texts)}; it returns {_text(*exported.out_avals)}."
  return f"{path}: {models.describe(model, params)}\n{call}"


def whole_function(
  model: nn.Module, params: Mapping[str, Any], input_scale: InputScale = LARGEST
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
    input_scale: how the batch, which should be a volume, is divided for the network.
  """
  channels = models.channels(model)
  axis = consistency.line_axis(getattr(model, "consistency", ""))

  def divisor(image):
    return input_scale.divisor(jnp.linalg.norm(image, axis=-1), jnp)

  def reconstruct(kspace, mask):
    sampled = mask != 0
    kspace = jnp.where(sampled, kspace, 0)
    scale = divisor(zero_fill(Measurement(kspace, mask), channels))
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
    scale = divisor(image)
    return scale * bands.apply(model, params, image / scale, None).image

  return reconstruct if reads_kspace(model) else enhance


def _text(array) -> str:
  return f"{array.dtype} [{', '.join(map(str, array.shape))}]"
