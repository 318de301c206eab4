"""Networks; `NETWORKS` lists them by name, `build` creates one from a config."""

import dataclasses
from typing import Any

from flax import linen as nn
from numpy.typing import ArrayLike

from kdmri_jax.config import ModelConfig
from kdmri_jax.errors import ArgumentError
from kdmri_jax.lookup import find, suggestion
from kdmri_jax.models import features
from kdmri_jax.models.arguments import check_choice
from kdmri_jax.models.cnn import PRECISIONS
from kdmri_jax.models.dccnn import DCCNN
from kdmri_jax.models.edsr import EDSR
from kdmri_jax.models.swinir import SwinIR
from kdmri_jax.models.unet import UNet
from kdmri_jax.models.varnet import VarNet
from kdmri_jax.models.vdsr import VDSR
from kdmri_jax.physics import consistency

__all__ = [
  "DCCNN",
  "EDSR",
  "NETWORKS",
  "VDSR",
  "SwinIR",
  "UNet",
  "VarNet",
  "build",
  "channels",
  "describe",
  "features",
  "find_network",
]

NETWORKS = {
  "dccnn": DCCNN,
  "edsr": EDSR,
  "swinir": SwinIR,
  "unet": UNet,
  "varnet": VarNet,
  "vdsr": VDSR,
}


def build(config: ModelConfig, mask: ArrayLike) -> nn.Module:
  """The network of a config, its data consistency in the fastest form for the mask.

  Args:
    config: its settings.
    mask: the concrete mask [H, W] of its use.

  Raises:
    ArgumentError: an unknown network or setting, a setting of another type, settings
      that the network refuses, or a form of the data consistency that does not fit the
      mask; names the setting.
  """
  network = find_network(config.network)
  fields = _settings(network)
  settings = dict(config.settings)
  for key, value in settings.items():
    _check(key, value, fields)
  if isinstance(form := settings.get("consistency"), str):
    try:
      form = consistency.resolve_form(form, mask, settings.get("channels", 1))
    except ArgumentError as error:
      problem = error.found, error.expected, error.remedy
      raise ArgumentError("consistency", *problem) from error
    settings["consistency"] = form
  try:
    return network(**settings)
  except ArgumentError:
    raise
  except TypeError as error:  # a setting without default is missing
    raise ArgumentError("network", f"{error}", "every setting of it") from error
  except ValueError as error:
    raise ArgumentError("network", f"{error}", "settings that it allows") from error


def channels(model: nn.Module) -> int:
  """Channels of its images: 1 where the network has no such setting."""
  return getattr(model, "channels", 1)


def describe(model: nn.Module, params: Any) -> str:
  """Its class and its number of parameters, in words."""
  count = features.count_parameters(params)
  return f"{type(model).__name__} of {count:,} parameters"


def in_precision(config: ModelConfig, precision: str) -> ModelConfig:
  """The same network, its hidden layers computed in another precision.

  Args:
    config: the network.
    precision: one of `cnn.PRECISIONS`.

  Raises:
    ArgumentError: an unknown `precision`, or a network without this setting.
  """
  check_choice("precision", precision, PRECISIONS)
  if "precision" not in _settings(find_network(config.network)):
    found, remedy = f"{precision!r} for the network {config.network}", "Omit it."
    raise ArgumentError("precision", found, "none: it has one precision", remedy)
  settings = {**config.settings, "precision": precision}
  return dataclasses.replace(config, settings=settings)


def find_network(name: str) -> type[nn.Module]:
  """The class of a network.

  Args:
    name: a key of `NETWORKS`, or the import path `package.module:Class`.

  Raises:
    ArgumentError: `network` is unknown, or is not a linen module.
  """
  network = find("network", name, NETWORKS)
  if not (isinstance(network, type) and issubclass(network, nn.Module)):
    found = f"{name!r}, which is not a flax.linen.Module"
    raise ArgumentError("network", found, "a linen module's class")
  return network


def _settings(network: type[nn.Module]) -> dict[str, dataclasses.Field]:
  fields = {field.name: field for field in dataclasses.fields(network) if field.init}
  return {name: fields[name] for name in fields if name not in ("parent", "name")}


def _check(key: str, value, fields: dict) -> None:
  if key not in fields:
    expected = f"one of {', '.join(fields)}"
    remedy = suggestion(key, fields)
    if any(key in _settings(network) for network in NETWORKS.values()):
      remedy = (
        "It is one of another network: to change the network, replace all of its "
      )
      remedy += "settings, such as by {'network': 'unet', 'features': 32}."
    raise ArgumentError(key, "an unknown key", expected, remedy)
  default = fields[key].default
  kinds = (int, float) if isinstance(default, float) else type(default)
  typed = default is not dataclasses.MISSING and default is not None
  if typed and (
    not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool)
  ):
    expected = f"a value of type {type(default).__name__}"
    raise ArgumentError(key, f"{value!r}", expected)
