"""A teacher that becomes its student: its surplus layers fade out while it trains.

Student and teacher are made of `CNN`s that differ in their number of convolutions. Each
surplus layer of the teacher is blended into a linear map of its channels, without ReLU
or bias. A map and the convolution after it are one convolution, so the teacher ends as
a network of the student's shape.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax.errors import ArgumentError
from kdmri_jax.models import kernels
from kdmri_jax.models.cnn import CNN, PRECISIONS
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.ops import convolution
from kdmri_jax.types import Array, Measurement

_MAPS = "maps"  # collection of the linear maps
_EXACT = jax.lax.Precision.HIGHEST


class Shrinking(NamedTuple):
  """The weights of a teacher that becomes its student.

  Attributes:
    params: the teacher's parameters, or the weights that merge into them, see
      `kernels.split`.
    maps: the linear maps, as the surplus layers in `params`: ... "conv_K" -> "kernel"
      -> [1, 1, F, F].
  """

  params: Any
  maps: Any

  def merged(self) -> Any:
    """The student's parameters: each map joined with the convolution after it."""
    return _merge(kernels.merge(self.params), self.maps)


def check(student: nn.Module, teacher: nn.Module | None) -> None:
  """Refuses a teacher that cannot become the student.

  Raises:
    ArgumentError: they are not two DC-CNNs, or two VDSRs, that differ in their number
      of convolutions alone (`consistency`, `precision` and `recompute` aside), with
      more of them in the teacher and two at least in the student; names `shrink`.
  """
  if isinstance(student, DCCNN | VDSR) and isinstance(teacher, DCCNN | VDSR):
    free = {"convolutions": student.convolutions, "precision": student.precision}
    if isinstance(student, DCCNN):
      free.update(consistency=student.consistency, recompute=student.recompute)
    fits = type(student) is type(teacher) and teacher.clone(**free) == student
    if fits and 2 <= student.convolutions < teacher.convolutions:
      return
  described = [type(network).__name__ for network in (student, teacher)]
  found = f"a {described[0]}, and a {described[1]} of other settings as its teacher"
  if teacher is None:
    found = "a teacher whose outputs are given"
  expected = (
    "DC-CNNs or VDSRs that differ in `convolutions` alone, 2 or more, and more "
  )
  raise ArgumentError("shrink", found, f"{expected}in the teacher", "Set shrink=0.")


def start(teacher: nn.Module, params: Any, convolutions: int) -> Shrinking:
  """The weights at the start: the teacher's, and maps that change nothing.

  The layers that fade out are spread evenly over the hidden ones. The first one and the
  last one stay.

  Args:
    teacher: the network, which has passed `check`.
    params: its parameters, on the host.
    convolutions: the student's, per CNN.
  """
  surplus = teacher.convolutions - convolutions
  spacing = (teacher.convolutions - 2) / surplus
  fading = [f"conv_{2 + int((k + 0.5) * spacing)}" for k in range(surplus)]
  identity = np.eye(teacher.features, dtype=np.float32)[None, None]

  def maps(tree):
    if fading[0] in tree:
      return {name: {"kernel": identity.copy()} for name in fading}
    return {name: maps(part) for name, part in tree.items()}

  return Shrinking(params, maps(params))


def apply(
  teacher: nn.Module,
  weights: Shrinking,
  share: Array,
  image: Array,
  measurement: Measurement | None,
) -> dict[str, Array]:
  """Runs the teacher with its surplus layers partly faded out.

  All activations are stored for the gradient, even if the teacher has `recompute`.

  Args:
    teacher: the network.
    weights: from `start`, perhaps with split kernels.
    share: 0 for the teacher, 1 for the student that `merged` gives.
    image: the network's input.
    measurement: likewise.

  Returns:
    The image after each cascade of a DC-CNN, "consistency_1" ..., and the last one as
    "image".
  """

  def fade(call, args, kwargs, context):
    if isinstance(context.module, CNN) and context.method_name == "__call__":
      return _run(context.module, share, *args, **kwargs)
    return call(*args, **kwargs)

  if isinstance(teacher, DCCNN):
    # The gradient of `recompute` calls its CNNs where nothing intercepts them.
    teacher = teacher.clone(recompute=False)
  variables = {"params": kernels.merge(weights.params), _MAPS: weights.maps}
  with nn.intercept_methods(fade):
    outputs, state = teacher.apply(
      variables, image, measurement, mutable=["intermediates"]
    )
  sown = state.get("intermediates", {})
  return {name: values[0] for name, values in sown.items()} | {"image": outputs.image}


def _run(cnn: CNN, share: Array, x: Array, idle_bias: Array | bool = False) -> Array:
  """As the CNN, whose surplus layers are blended into their maps."""
  params, maps = cnn.variables["params"], cnn.variables[_MAPS]
  kind, products = PRECISIONS[cnn.precision]
  for layer in (f"conv_{k}" for k in range(1, cnn.convolutions + 1)):
    x, kernel = x.astype(kind), params[layer]["kernel"].astype(kind)
    bias = params[layer]["bias"]
    if layer == f"conv_{cnn.convolutions}":
      x = convolution.convolve(x, kernel, precision=products).astype(jnp.float32)
      return x + jnp.where(idle_bias, jax.lax.stop_gradient(bias), bias)
    y = convolution.convolve(x, kernel, bias.astype(kind), True, products)
    if layer in maps:
      linear = maps[layer]["kernel"][0, 0].astype(kind)
      linear = jnp.einsum("bhwi,io->bhwo", x, linear, precision=products)
      y = ((1 - share) * y + share * linear).astype(kind)
    x = y
  raise AssertionError("a CNN has a last layer")


def _merge(params: Mapping[str, Any], maps: Mapping[str, Any]) -> dict[str, Any]:
  if "conv_1" not in params:
    return {name: _merge(part, maps[name]) for name, part in params.items()}
  layers, before = [], None
  for layer in (f"conv_{k}" for k in range(1, len(params) + 1)):
    kernel = (maps if layer in maps else params)[layer]["kernel"]
    kernel = kernel if before is None else _after(before, kernel)
    before = kernel if layer in maps else None
    if layer not in maps:
      layers.append({**params[layer], "kernel": kernel})
  return {f"conv_{k}": layer for k, layer in enumerate(layers, 1)}


def _after(linear: Array, kernel: Array) -> Array:
  """A map [1, 1, F, F] and a convolution [K, K, F, O] after it, as one kernel."""
  return jnp.einsum("im,hwmo->hwio", linear[0, 0], kernel, precision=_EXACT)
