"""Parts of a network whose inner values are computed again for the gradient.

A training step then stores the inputs of each part in place of all its inner values,
and takes the time of one more inference (Chen et al. 2016, arXiv 1604.06174).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

from kdmri_jax.types import Array


def call(parent: nn.Module, part: nn.Module, *arguments: Array) -> Array:
  """part(*arguments), with inner values that the gradient computes again.

  Args:
    parent: the module in whose call this happens.
    part: a submodule of it that returns one array and draws no random numbers. What it
      sows is sown by the parent, under the same path.
    *arguments: its arguments; those of whole numbers or booleans get no gradient.

  Returns:
    The part's result.
  """
  if parent.is_initializing():
    return part(*arguments)
  unbound, variables = part.unbind()
  leaves, structure = jax.tree.flatten((variables, arguments))
  real = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]

  def run(inputs, constants):
    inputs, constants = iter(inputs), iter(constants)
    merged = [next(inputs if r else constants) for r in real]
    variables, arguments = jax.tree.unflatten(structure, merged)
    return unbound.apply(variables, *arguments, mutable=["intermediates"])

  inputs = [leaf for leaf, r in zip(leaves, real, strict=True) if r]
  constants = [leaf for leaf, r in zip(leaves, real, strict=True) if not r]
  result, state = _recomputed(run)(inputs, constants)
  sown = traverse_util.flatten_dict(state.get("intermediates", {}), sep="/")
  for name, values in sown.items():
    parent.sow("intermediates", f"{part.name}/{name}", values[0])
  return result


def _recomputed(function: Callable[[list, list], Any]) -> Callable[[list, list], Any]:
  """function(inputs, constants) with a gradient that stores these alone.

  `jax.checkpoint` is not enough on a CPU: XLA removes its barrier, finds that the same
  values are computed twice, and keeps them.
  """

  @jax.custom_vjp
  def run(inputs, constants):
    return function(inputs, constants)

  def forward(*primals):
    saved = jax.tree.map(lambda p: p.value, primals, is_leaf=_is_primal)
    return function(*saved), saved

  def backward(saved, cotangents):
    leaves, structure = jax.tree.flatten(cotangents)
    used = [not isinstance(c, SymbolicZero) for c in leaves]
    given = [c for c, u in zip(leaves, used, strict=True) if u]

    def gradient(inputs, constants, given):
      rest = iter(given)
      full = [
        next(rest) if u else jnp.zeros(c.shape, c.dtype)
        for c, u in zip(leaves, used, strict=True)
      ]
      pullback = jax.vjp(lambda inputs: function(inputs, constants), inputs)[1]
      return pullback(jax.tree.unflatten(structure, full))[0]

    def behind_barrier(*arguments):
      return gradient(*jax.lax.optimization_barrier(arguments))

    def behind_condition(*arguments):
      def never(inputs, *_):
        return [jnp.full_like(value, jnp.nan) for value in inputs]

      first = jnp.real(arguments[-1][0]).ravel()[0]
      always = (first == first) | (first != first)  # XLA does not see that it is true
      return jax.lax.cond(always, gradient, never, *arguments)

    gradients = jax.lax.platform_dependent(
      *saved, given, cpu=behind_condition, default=behind_barrier
    )
    return gradients, None

  run.defvjp(forward, backward, symbolic_zeros=True)
  return run


def _is_primal(leaf: Any) -> bool:
  return isinstance(leaf, CustomVJPPrimal)
