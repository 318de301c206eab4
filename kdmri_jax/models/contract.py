"""The requirements on every network, checked on shapes before training."""

import inspect
import traceback

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax.errors import ArgumentError
from kdmri_jax.types import Measurement, Outputs


def check(
  model: nn.Module, size: tuple[int, int], channels: int, *, measured: bool = True
) -> None:
  """Traces the network on one image.

  Args:
    model: the network.
    size: rows and columns of the images.
    channels: their channels.
    measured: whether there is a measurement; patches have none.

  Raises:
    ArgumentError: the network fails, does not return `Outputs` with an image of its
      input's shape, has no parameters, or variables of another kind.
  """
  shape = (1, *size, channels)
  image = jax.ShapeDtypeStruct(shape, jnp.float32)
  measurement = Measurement(
    jax.ShapeDtypeStruct(shape[:3], jnp.complex64),
    jax.ShapeDtypeStruct(size, jnp.uint8),
  )
  if not measured:
    measurement = None
  try:
    variables = jax.eval_shape(model.init, jax.random.key(0), image, measurement)
  except Exception as error:  # a network of the user's may raise anything
    raise _fails(model, shape, measured, error) from error
  kinds = set(variables) - {"intermediates"}
  if kinds != {"params"}:
    raise ArgumentError(
      "network",
      f"variables of the kinds {', '.join(sorted(kinds)) or '(none)'}",
      "parameters, and nothing else",
      "Avoid layers that store statistics, such as nn.BatchNorm; nn.GroupNorm and "
      "nn.LayerNorm store none.",
    )
  try:
    params = {"params": variables["params"]}
    outputs = jax.eval_shape(model.apply, params, image, measurement)
  except Exception as error:
    raise _fails(model, shape, measured, error) from error
  if not isinstance(outputs, Outputs) or outputs.image.shape != shape:
    found = f"a {type(outputs).__name__}"
    if isinstance(outputs, Outputs):
      found = f"an image of shape {outputs.image.shape}"
    raise ArgumentError(
      "network",
      f"a network that returns {found}",
      f"kdmri_jax.types.Outputs with an image of shape {shape}, as its input",
    )


def _fails(model: nn.Module, shape, measured: bool, error: Exception) -> ArgumentError:
  file = inspect.getfile(type(model))
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == file
  ]
  place = f" ({file}, line {lines[-1]})" if lines else ""
  found, remedy = f"a network that fails on an image of shape {shape}", ""
  if not measured:
    found += ", a patch without measured k-space"
    remedy = "Train on whole slices, or choose a network without data consistency."
  found += f": {type(error).__name__}: {error}{place}"
  expected = "a module called as (image, measurement), without random draws"
  return ArgumentError("network", found, expected, remedy)
