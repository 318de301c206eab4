"""From an experiment file's config to the checked schema."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from kdmri_jax.config.check import check
from kdmri_jax.config.schema import EvaluationConfig, ExperimentConfig, ModelConfig
from kdmri_jax.config.setting import is_number, keys
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.lookup import suggestion


def parse(config: Mapping[str, Any]) -> ExperimentConfig:
  """Checks an experiment against the schema.

  Args:
    config: nested mapping, such as an `ml_collections.ConfigDict`; a missing key has
      its default.

  Returns:
    The same values as frozen dataclasses.

  Raises:
    UserError: a key is unknown, or its value is of another type or outside its limits;
      or stages, models and terms have unusable names, or refer to some that do not
      exist.
  """
  if hasattr(config, "to_dict"):
    config = config.to_dict()
  experiment = _build(ExperimentConfig, config, "config")
  for name, stage in experiment.stages.items():
    epochs = stage.epochs or experiment.epochs
    experiment.stages[name] = dataclasses.replace(stage, epochs=epochs)
  check(experiment)
  _check_published_on(experiment)
  return experiment


def defaults() -> ConfigDict:
  """The default of every key that has one, without models and stages."""
  return ConfigDict(dataclasses.asdict(ExperimentConfig()))


def complete(config: ConfigDict) -> None:
  """Adds the missing keys of a config, so that flags can set them.

  Args:
    config: the config of an experiment file; its own values stay.
  """
  with config.unlocked():
    _complete(ExperimentConfig, config)


def _complete(kind, config) -> None:
  if not isinstance(config, ConfigDict) or kind is ModelConfig:
    return
  for name, key in keys(kind).items():
    if name not in config and key.default is not dataclasses.MISSING:
      is_group = dataclasses.is_dataclass(key.default)
      config[name] = dataclasses.asdict(key.default) if is_group else key.default
    value = config.get(name)
    if key.group and isinstance(value, ConfigDict):
      for part in value.values() if key.is_named else [value]:
        _complete(key.group, part)


# Settings of earlier versions that chose nothing of a training.
_FORMER = {EvaluationConfig: ("bootstrap",)}


def of_any_version(values: Any, kind: type = ExperimentConfig) -> Any:
  """Plain settings of an earlier version, as this one has them.

  Keys that they lack have their default: an earlier version, which did not have a key,
  did what its default does. Former keys are left out.

  Args:
    values: the settings, as `to_dict` returns them; anything else is returned as it is.
    kind: the group of settings that they are.
  """
  if not isinstance(values, dict) or kind is ModelConfig:
    return values
  found = {k: v for k, v in values.items() if k not in _FORMER.get(kind, ())}
  for name, key in keys(kind).items():
    default, group = key.default, key.group
    if name not in found and default is not dataclasses.MISSING:
      is_group = dataclasses.is_dataclass(default)
      found[name] = dataclasses.asdict(default) if is_group else default
    inner = found.get(name)
    if group and key.is_named and isinstance(inner, dict):
      found[name] = {k: of_any_version(value, group) for k, value in inner.items()}
    elif group:
      found[name] = of_any_version(inner, group)
  return found


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
  """The plain, JSON-able form of a parsed config: tuples are lists, inf is "inf"."""
  values = _listed(dataclasses.asdict(config))
  for name, model in values["models"].items():
    values["models"][name] = {"network": model["network"], **model["settings"]}
  return values


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
  """Nested settings by their dotted keys, such as "mask.acceleration"."""
  found = {}
  for key, value in values.items():
    inner = flat(value) if isinstance(value, Mapping) else {"": value}
    found |= {f"{key}.{k}" if k else key: item for k, item in inner.items()}
  return found


def _listed(value):
  if isinstance(value, dict):
    return {key: _listed(item) for key, item in value.items()}
  if isinstance(value, tuple | list):
    return [_listed(item) for item in value]
  return "inf" if value == math.inf else value


def _build(kind, value, where):
  """Converts `value` to the annotated type `kind` or raises an error."""
  if kind is ModelConfig:
    return _build_model(value, where)
  if dataclasses.is_dataclass(kind):
    return _build_dataclass(kind, value, where)
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if kind == dict[str, Any] and isinstance(value, Mapping):
    return {key: _setting(item) for key, item in flat(value).items()}
  if origin is dict and isinstance(value, Mapping):
    return {k: _build(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
  if origin is tuple and isinstance(value, list | tuple):
    items = arguments[:1] * len(value) if arguments[-1] is ... else arguments
    if len(items) == len(value):
      pairs = enumerate(zip(items, value, strict=True))
      return tuple(_build(k, v, f"{where}[{i}]") for i, (k, v) in pairs)
  if kind is float and (value == "inf" or is_number(value)):
    return float(value)
  if type(value) is kind or (kind is str and isinstance(value, str)):
    return value
  name = str(kind) if origin else kind.__name__
  raise UserError(where, f"{value!r}", f"a value of type {name}")


def _build_dataclass(kind, value, where):
  known = keys(kind)
  if not isinstance(value, Mapping):
    raise UserError(where, f"{value!r}", f"a group of settings: {', '.join(known)}")
  for name in value:
    if name not in known:
      found, expected = "an unknown key", f"one of {', '.join(known)}"
      raise UserError(f"{where}.{name}", found, expected, suggestion(name, known))
  for name, key in known.items():
    if name not in value and key.default is dataclasses.MISSING:
      raise UserError(where, f"no {name}", "a value for it")
  values = {k: _build(known[k].type, v, f"{where}.{k}") for k, v in value.items()}
  with arguments_of(f"{where}."):
    return kind(**values)


def _build_model(value, where) -> ModelConfig:
  if not isinstance(value, Mapping) or not isinstance(value.get("network"), str):
    raise UserError(where, f"{value!r}", "`network` and its settings")
  settings = {key: _setting(item) for key, item in value.items() if key != "network"}
  return ModelConfig(value["network"], settings)


def _setting(value):
  if isinstance(value, list | tuple):
    return tuple(map(_setting, value))
  return math.inf if value == "inf" else value


def _check_published_on(config: ExperimentConfig):
  settings = flat(to_dict(config))
  for key in config.evaluation.published_on:
    # A network of another kind lacks a setting: it differs from the published one.
    part, _, rest = key.partition(".")
    is_of_model = part == "models" and rest.partition(".")[0] in config.models
    if key not in settings and not is_of_model:
      where, hint = "config.evaluation.published_on", suggestion(key, settings)
      expected = "settings of this experiment, such as data.source"
      raise UserError(where, f"{key!r}", expected, hint)
