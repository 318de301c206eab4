"""Networks as bundles of `jax.export`, which run without this package."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import export

from kdmri_jax import models
from kdmri_jax.errors import UserError
from kdmri_jax.interop import whole_function
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.optional import require
from kdmri_jax.saving import replacing

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

_ANY_SIZE = (EDSR, VDSR)  # convolutions alone


def save_jax_bundle(
  path: str | os.PathLike,
  model: nn.Module,
  params: Mapping[str, Any],
  size: tuple[int, int],
  scaled: bool = True,
) -> str:
  """Writes a network with its physics and scaling as one function of JAX.

  `jax.export.deserialize(file).call(...)` runs the function of `whole_function.make`
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
    scaled: see `whole_function.make`.

  Returns:
    A message: the network written, and how the function is called.

  Raises:
    UserError: the package flatbuffers is missing, the network cannot be traced, or the
      file cannot be written.
  """
  require("flatbuffers", "export", path, "a bundle to be written")
  function = whole_function.make(model, params, scaled=scaled)
  channels = models.channels(model)
  if whole_function.reads_kspace(model, params):
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


def _text(array) -> str:
  return f"{array.dtype} [{', '.join(map(str, array.shape))}]"
