"""The requirements on every network, checked on shapes before training."""

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend import core

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models import features
from kdmri_jax.ops import convolution
from kdmri_jax.types import Array, Measurement, Outputs


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
  """Keeps the results for equal networks and shapes: every stage asks for them."""
  kept = functools.lru_cache(maxsize=128)(function)

  @functools.wraps(function)
  def call(model, *arguments, **more):
    try:
      hash(model)
    except TypeError:  # an attribute of a user's network, such as an array
      return function(model, *arguments, **more)
    return kept(model, *arguments, **more)

  return call


@_once
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
  image, measurement = arguments(size, channels)
  shape, measurement = image.shape, measurement if measured else None

  def trace(function):
    try:
      return function(model, image, measurement)
    except Exception as error:  # a network of the user's may raise anything
      found, remedy = f"a network that fails on an image of shape {shape}", ""
      if not measured:
        found += ", a patch without measured k-space"
        remedy = "Train on whole slices, or choose a network without data consistency."
      found += f": {type(error).__name__}: {error}{_place(model, error)}"
      expected = "a module called as (image, measurement), without random draws"
      raise ArgumentError("network", found, expected, remedy) from error

  variables = trace(variable_shapes)
  kinds = set(variables) - {"intermediates"}
  if kinds != {"params"}:
    raise ArgumentError(
      "network",
      f"variables of the kinds {', '.join(sorted(kinds)) or '(none)'}",
      "parameters, and nothing else",
      "Avoid layers that store statistics, such as nn.BatchNorm; nn.GroupNorm and "
      "nn.LayerNorm store none.",
    )
  outputs, _ = trace(_applied_shapes)
  if not isinstance(outputs, Outputs) or outputs.image.shape != shape:
    found = f"a {type(outputs).__name__}"
    if isinstance(outputs, Outputs):
      found = f"an image of shape {outputs.image.shape}"
    expected = f"kdmri_jax.types.Outputs with an image of shape {shape}, as its input"
    raise ArgumentError("network", f"a network that returns {found}", expected)


def variable_shapes(model: nn.Module, image: Any, measurement: Any) -> dict[str, Any]:
  """The shapes and types of its variables, by kind, "params".

  Args:
    model: the network.
    image: shape and type of its input.
    measurement: those of the measurement; None for patches.
  """
  return _initialisation(model, image, measurement)[1]


def draw_parameters(
  model: nn.Module, key: Array, image: Any, measurement: Any
) -> Any | None:
  """Draws its initial parameters without computing an image.

  They have the bits of `model.init`.

  Args:
    model: a network that `check` accepts.
    key: random key.
    image: shape and type of its input.
    measurement: those of the measurement; None for patches.

  Returns:
    The parameters; None where they depend on more than the key.
  """
  traced, shapes = _initialisation(model, image, measurement)
  jaxpr, used = traced.jaxpr, []
  needed = _variables(jaxpr.outvars)
  for operation in reversed(jaxpr.eqns):
    if not needed.isdisjoint(operation.outvars):
      used.append(operation)
      needed |= _variables(operation.invars)
  given, *others = jaxpr.invars
  if not needed.isdisjoint(others):
    return None
  drawing = jaxpr.replace(eqns=used[::-1], invars=[given])
  found = core.jaxpr_as_fun(core.ClosedJaxpr(drawing, traced.consts))(key)
  found = map(jnp.asarray, found)  # constants are no arrays yet
  return jax.tree.unflatten(jax.tree.structure(shapes), found)["params"]


def _variables(values):
  """Those of an operation's values that are not literal numbers."""
  return {value for value in values if isinstance(value, core.Var)}


@_once
def _initialisation(model, image, measurement):
  """The operations of `model.init`, and the shapes and types of its result."""
  trace = jax.make_jaxpr(model.init, return_shape=True)
  with convolution.xla_alone():  # quicker to trace
    return trace(jax.random.key(0), image, measurement)


@_once
def reads_kspace(model: nn.Module) -> bool:
  """Whether a network computes with the measurement: one with data consistency does."""
  image, measurement = arguments((32, 32), getattr(model, "channels", 1))
  try:
    with convolution.xla_alone():
      params = variable_shapes(model, image, measurement)
      traced = jax.make_jaxpr(model.apply)(params, image, measurement).jaxpr
  except Exception:  # a network of the user's may raise anything
    return True
  given = set(traced.invars[-len(jax.tree.leaves(measurement)) :])
  used = [each for operation in traced.eqns for each in operation.invars]
  return not given.isdisjoint(_variables([*used, *traced.outvars]))


def feature_shapes(model: nn.Module, image: Any, measurement: Any) -> dict[str, Any]:
  """The shapes and types of the features that it sows, see `features.apply`.

  Args:
    model: a network that `check` accepts.
    image: shape and type of its input.
    measurement: those of the measurement; None for patches.
  """
  return features.named(model, *_applied_shapes(model, image, measurement))


@_once
def _applied_shapes(model, image, measurement):
  """The shapes and types of its result and of the variables that it changes."""
  params = variable_shapes(model, image, measurement)["params"]

  def apply(params, image, measurement):
    variables = {"params": params}
    return model.apply(variables, image, measurement, mutable=["intermediates"])

  with convolution.xla_alone():
    return jax.eval_shape(apply, params, image, measurement)


def parameter_shapes(model: nn.Module, size: tuple[int, int]) -> Any:
  """The shapes and types of its parameters, for images of `size` rows and columns."""
  given = arguments(size, getattr(model, "channels", 1))
  return variable_shapes(model, *given)["params"]


def arguments(size: tuple[int, int], channels: int) -> tuple[Any, Measurement]:
  """The shapes of a network's arguments, one image and its measurement."""
  kspace = jax.ShapeDtypeStruct((1, *size), jnp.complex64)
  mask = jax.ShapeDtypeStruct(size, jnp.uint8)
  image = jax.ShapeDtypeStruct((1, *size, channels), jnp.float32)
  return image, Measurement(kspace, mask)


def _place(model: nn.Module, error: Exception) -> str:
  """The last line of the network's own file that the error passed."""
  file = inspect.getfile(type(model))
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == file]
  return f" ({file}, line {lines[-1]})" if lines else ""
