"""Reads named features that a network's modules sowed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax import linen as nn
from flax import traverse_util

from kdmri_jax.lookup import unknown
from kdmri_jax.types import Array, Measurement, Outputs


def apply(
  model: nn.Module, params: Any, image: Array, measurement: Measurement
) -> tuple[Outputs, dict[str, Array]]:
  """Runs the network and collects what it sowed.

  Unused features cost nothing once the caller is jitted.

  Returns:
    The outputs, and the features by path, such as "cascade_1/activation_3"; features of
    a module's second call have "#2" after their path, unless the network has names for
    them (`feature_name`). "image" is the reconstruction itself.
  """
  outputs, state = model.apply(
    {"params": params}, image, measurement, mutable=["intermediates"]
  )
  return outputs, named(model, outputs, state)


def named(
  model: nn.Module, outputs: Outputs, state: Mapping[str, Any]
) -> dict[str, Array]:
  """The features by path, see `apply`.

  Args:
    model: the network.
    outputs: what it returned.
    state: the variables that it changed, "intermediates".
  """
  sown = traverse_util.flatten_dict(state.get("intermediates", {}), sep="/")
  name_of = getattr(model, "feature_name", _numbered)
  features = {
    name_of(name, k): value
    for name, values in sown.items()
    for k, value in enumerate(values, 1)
  }
  return {**features, "image": outputs.image}


def _numbered(name: str, call: int) -> str:
  return name if call == 1 else f"{name}#{call}"


def pick(
  features: Mapping[str, Array], names: Sequence[str], argument: str
) -> tuple[Array, ...]:
  """The named features in the requested order.

  Raises:
    ArgumentError: the network sows no such feature; `argument` is what asks for it.
  """
  for name in names:
    if name not in features:
      raise unknown(argument, name, features)
  return tuple(features[name] for name in names)


def count_parameters(params: Any) -> int:
  """Number of trainable scalars."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
