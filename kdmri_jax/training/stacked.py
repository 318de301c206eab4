"""Adam on stacks of equal arrays, so that a GPU needs few kernels for many weights.

XLA compiles one kernel for the update of each array. Within one dispatch of many steps
the moments are stacks, one for each shape of the weights, and one kernel updates a
stack. Elsewhere, and in checkpoints, they have the form of the weights.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

Stacks = dict[str, jax.Array]


class Moments(optax.ScaleByAdamState):
  """The state of `scale_by_adam`: `optax.ScaleByAdamState`, perhaps of stacks."""


def scale_by_adam(**settings: Any) -> optax.GradientTransformation:
  """`optax.scale_by_adam`, which also takes the state that `stack` returns."""
  adam = optax.scale_by_adam(**settings)

  def init(trained):
    return Moments(*adam.init(trained))

  def update(gradient, state, trained=None):
    del trained
    if jax.tree.structure(state.mu) == jax.tree.structure(gradient):
      updates, state = adam.update(gradient, state)
    else:
      updates, state = adam.update(_stacked(gradient), state)
      updates = _like(gradient, updates)
    return updates, Moments(*state)

  return optax.GradientTransformation(init, update)


def stack(state: Any) -> Any:
  """An optimiser's state with all `Moments` as stacks."""
  return _map(lambda of: of._replace(mu=_stacked(of.mu), nu=_stacked(of.nu)), state)


def unstack(state: Any, trained: Any) -> Any:
  """The inverse of `stack`, with moments in the form of the weights."""
  return _map(
    lambda of: of._replace(mu=_like(trained, of.mu), nu=_like(trained, of.nu)), state
  )


def _map(function, state):
  def is_moments(node):
    return isinstance(node, Moments)

  return jax.tree.map(
    lambda node: function(node) if is_moments(node) else node, state, is_leaf=is_moments
  )


def _stacked(tree: Any) -> Stacks:
  groups: dict[str, list] = {}
  for leaf in jax.tree.leaves(tree):
    groups.setdefault(_group(leaf), []).append(leaf)
  return {name: jnp.stack(leaves) for name, leaves in groups.items()}


def _like(tree: Any, stacks: Stacks) -> Any:
  leaves, structure = jax.tree.flatten(tree)
  rows = {name: iter(stack) for name, stack in stacks.items()}
  return jax.tree.unflatten(structure, [next(rows[_group(leaf)]) for leaf in leaves])


def _group(leaf) -> str:
  return f"{leaf.dtype} {leaf.shape}"
