"""Random keys in the state of an optimiser, in a form that checkpoints can hold."""

import dataclasses
import functools
from typing import Any

import jax
import optax


@functools.partial(
  jax.tree_util.register_dataclass, data_fields=["data"], meta_fields=["kind"]
)
@dataclasses.dataclass(frozen=True)
class StoredKey:
  """A random key, or an array of keys, as numbers.

  Attributes:
    data: from `jax.random.key_data`.
    kind: from `jax.random.key_impl`.
  """

  data: Any
  kind: Any


def stored(optimiser: optax.GradientTransformation) -> optax.GradientTransformation:
  """The same optimiser, whose state has a `StoredKey` for each typed random key."""

  def init(trained):
    return jax.tree.map(_store, optimiser.init(trained))

  def update(gradient, state, trained=None):
    state = jax.tree.map(_draw_from, state, is_leaf=_is_stored)
    updates, state = optimiser.update(gradient, state, trained)
    return updates, jax.tree.map(_store, state)

  return optax.GradientTransformation(init, update)


def _store(leaf: Any) -> Any:
  kind = getattr(leaf, "dtype", None)
  if kind is None or not jax.dtypes.issubdtype(kind, jax.dtypes.prng_key):
    return leaf
  return StoredKey(jax.random.key_data(leaf), jax.random.key_impl(leaf))


def _draw_from(node: Any) -> Any:
  if not _is_stored(node):
    return node
  return jax.random.wrap_key_data(node.data, impl=node.kind)


def _is_stored(node: Any) -> bool:
  return isinstance(node, StoredKey)
