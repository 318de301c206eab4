"""What a network computes: the multiplications of its convolutions and matrices."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from kdmri_jax.models import contract
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.ops import convolution


def multiplications(model: nn.Module, size: tuple[int, int]) -> int:
  """Multiplications (each with an addition) of a network for one image.

  Of convolutions and matrix products. A DC-CNN has one for each weight of a kernel,
  pixel and cascade, whether its cascades share weights or not; its data consistency is
  left out. Those of a VarNet are for one coil.

  Args:
    model: the network.
    size: rows and columns of the image.
  """
  if isinstance(model, DCCNN):
    model = model.clone(consistency="fft")  # a form without matrix products
  params = contract.parameter_shapes(model, size)
  given = contract.arguments(size, getattr(model, "channels", 1))
  with convolution.xla_alone():
    run = jax.make_jaxpr(lambda *x: model.apply({"params": x[0]}, *x[1:]).image)
    return _count(run(params, *given).jaxpr)


def _count(jaxpr: Jaxpr) -> int:
  return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: JaxprEqn) -> int:
  shapes = [np.shape(value.aval) for value in (*equation.invars, *equation.outvars)]
  if equation.primitive.name == "conv_general_dilated":
    _, kernel, result = shapes
    outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    return math.prod(result) * math.prod(kernel) // outputs
  if equation.primitive.name == "dot_general":
    left, _, result = shapes
    (contracted, _), _ = equation.params["dimension_numbers"]
    return math.prod(result) * math.prod(left[axis] for axis in contracted)
  inner = [_count(jaxpr) for jaxpr in _inside(equation.params)]
  if equation.primitive.name == "cond":  # the last way serves every platform
    return inner[-1]
  return equation.params.get("length", 1) * sum(inner)


def _inside(params: Mapping[str, Any]) -> Iterator[Jaxpr]:
  """The functions that an operation runs."""
  for value in params.values():
    for each in value if isinstance(value, tuple | list) else (value,):
      if isinstance(each, ClosedJaxpr):
        yield each.jaxpr
      elif isinstance(each, Jaxpr):
        yield each
