"""From what an experiment file returns to the checked schema."""

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Mapping
from typing import Any

from kdmri_jax.config.schema import (
  MINIMUM,
  PROTOCOLS,
  RESERVED,
  RESERVED_ROWS,
  ZERO_FILLED,
  EvaluationConfig,
  ExperimentConfig,
  ModelConfig,
  StageConfig,
)
from kdmri_jax.errors import UserError


def parse(config: Mapping[str, Any]) -> ExperimentConfig:
  """Checks an experiment against the schema.

  Args:
    config: nested mapping, such as an `ml_collections.ConfigDict`.

  Returns:
    The same values as frozen dataclasses.

  Raises:
    UserError: a key is missing, unknown, of another type or out of range; or stages,
      models and terms have unusable names, or refer to some that do not exist.
  """
  if hasattr(config, "to_dict"):
    config = config.to_dict()
  experiment = _build(ExperimentConfig, config, "config")
  _check_ranges(experiment, "config")
  _check_seeds(experiment)
  _check_names(experiment)
  _check_references(experiment)
  return experiment


def to_dict(config) -> dict[str, Any]:
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
  """Converts `value` to the annotated type `kind` or says why it cannot."""
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
  if kind is float and (value == "inf" or _is_number(value)):
    return float(value)
  if (
    origin is None
    and isinstance(value, kind)
    and not (kind is int and isinstance(value, bool))
  ):
    return value
  name = str(kind) if origin else kind.__name__
  raise UserError(
    where, f"{value!r}", f"a value of type {name}", "Change this setting."
  )


def _build_dataclass(kind, value, where):
  fields = typing.get_type_hints(kind)
  if not isinstance(value, Mapping):
    raise UserError(
      where, f"{value!r}", "a group of settings", "See experiments/base.py."
    )
  for key in value:
    if key not in fields:
      close = difflib.get_close_matches(key, fields, n=1)
      hint = f"Did you mean {where}.{close[0]}? " if close else ""
      raise UserError(
        f"{where}.{key}",
        "an unknown key",
        f"one of {', '.join(fields)}",
        f"{hint}Correct or remove it.",
      )
  missing = [key for key in fields if key not in value]
  if missing:
    raise UserError(
      where,
      f"no value for {', '.join(missing)}",
      "every key of the schema",
      "Start from experiments/base.py, which sets them all.",
    )
  return kind(**{k: _build(t, value[k], f"{where}.{k}") for k, t in fields.items()})


def _build_model(value, where) -> ModelConfig:
  if not isinstance(value, Mapping) or not isinstance(value.get("network"), str):
    found = f"{value!r}"
    raise UserError(where, found, "`network` and its settings", "Name the network.")
  settings = {key: _setting(item) for key, item in value.items() if key != "network"}
  return ModelConfig(value["network"], settings)


def _setting(value):
  if isinstance(value, list | tuple):
    return tuple(map(_setting, value))
  return math.inf if value == "inf" else value


def _is_number(value) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def _check_ranges(part, where: str) -> None:
  """Every number is within the range of its key, wherever that key stands."""
  if isinstance(part, ModelConfig):
    items = part.settings
  else:
    names = [field.name for field in dataclasses.fields(part)]
    items = {name: getattr(part, name) for name in names}
  for name, value in items.items():
    key = f"{where}.{name}"
    if dataclasses.is_dataclass(value):
      _check_ranges(value, key)
    elif isinstance(value, dict):
      for inner, item in value.items():
        if dataclasses.is_dataclass(item):
          _check_ranges(item, f"{key}.{inner}")
    elif _is_number(value):
      least = MINIMUM.get(name, -math.inf)
      finite = math.isfinite(value) or (name == "lam" and value == math.inf)
      if value < least or not finite:
        expected = f"a finite number of at least {least}"
        raise UserError(key, f"{value}", expected, "Correct it.")


def _check_seeds(config: ExperimentConfig) -> None:
  """`jax.random.key` takes a seed modulo 2**32."""
  if config.seed + config.seeds > 2**32:
    found = f"{config.seed}, the first of {config.seeds} seeds"
    raise UserError("config.seed", found, "seeds below 2**32", "Choose a smaller one.")


def _check_names(config: ExperimentConfig) -> None:
  """Names become folders and keys, and `start_from` joins them by "/"."""
  terms = {f"stages.{name}.terms": s.terms for name, s in config.stages.items()}
  groups = {"stages": config.stages, "models": config.models, **terms}
  for group, names in groups.items():
    for name in names:
      if not re.fullmatch(r"\w+", name):
        expected = "a name of letters, digits and _"
        raise UserError(f"config.{group}", f"{name!r}", expected, "Rename it.")
  for name in RESERVED_ROWS:
    if name in config.stages:
      expected = f"a stage called none of {', '.join(RESERVED_ROWS)}"
      raise UserError("config.stages", f"{name!r}", expected, "Rename the stage.")


def _check_references(config: ExperimentConfig):
  done: list[str] = []
  for name in config.pipeline:
    where = f"config.stages.{name}"
    _known(name, config.stages, "config.pipeline", "a stage in config.stages")
    stage = config.stages[name]
    _known(stage.model, config.models, f"{where}.model", "a model in config.models")
    if stage.branches:
      _known(stage.branches, config.models, f"{where}.branches", "a model")
    if stage.teacher:
      _known(stage.teacher, done, f"{where}.teacher", "a stage before this one")
    if stage.start_from:
      _check_start(config, stage, done, f"{where}.start_from")
    _check_stage(where, stage)
    done.append(name)
  _check_evaluation(config)


def _check_evaluation(config: ExperimentConfig):
  evaluation = config.evaluation
  if not evaluation.models:
    raise UserError(
      "config.evaluation.models", "none", "at least one stage", "Name one."
    )
  for name in evaluation.models:
    _known(name, config.pipeline, "config.evaluation.models", "a stage in the pipeline")
  for key in ("teacher", "student"):
    where = f"config.evaluation.{key}"
    _known(getattr(evaluation, key), config.stages, where, "a stage")
  if evaluation.teacher == evaluation.student:
    found = f"{evaluation.student!r}, the teacher, too"
    raise UserError(where, found, "another stage", "Name the unassisted student.")
  for name in evaluation.distilled:
    _known(name, config.stages, "config.evaluation.distilled", "a stage")
  if evaluation.control:
    what = "a stage in config.evaluation.models"
    _known(evaluation.control, evaluation.models, "config.evaluation.control", what)
  _check_published(evaluation)
  _check_published_on(config)
  _known(evaluation.protocol, PROTOCOLS, "config.evaluation.protocol", "a protocol")


def _check_published(evaluation: EvaluationConfig):
  where = "config.evaluation.published"
  rows = (ZERO_FILLED, *evaluation.models)
  for name, (psnr, ssim) in evaluation.published.items():
    _known(name, rows, where, "a row of the table")
    if not (math.isfinite(psnr) and -1 <= ssim <= 1):
      raise UserError(
        f"{where}.{name}",
        f"({psnr}, {ssim})",
        "a finite PSNR in dB and an SSIM between -1 and 1",
        "Give them in this order.",
      )
  if evaluation.published and not evaluation.published_source:
    raise UserError(
      "config.evaluation.published_source",
      "none",
      "where the published numbers stand",
      "Name the publication and its table.",
    )


def _check_published_on(config: ExperimentConfig):
  settings = flat(to_dict(config))
  for key in config.evaluation.published_on:
    if key not in settings:
      close = ", ".join(difflib.get_close_matches(key, settings, n=1))
      raise UserError(
        "config.evaluation.published_on",
        f"{key!r}",
        "settings of this experiment, such as data.source",
        f"Did you mean {close}?" if close else "Correct the name.",
      )


def _check_start(config: ExperimentConfig, stage: StageConfig, done, where: str):
  name, _, part = stage.start_from.partition("/")
  choices = [*done, *(f"{n}/branches" for n in done if config.stages[n].branches)]
  _known(stage.start_from, choices, where, "a stage before this one")
  model = config.stages[name].branches if part else config.stages[name].model
  if model != stage.model:
    raise UserError(
      where,
      f"{stage.start_from!r}, a stage of another model",
      f"a stage of the model {stage.model!r}",
      "Start from one of those, or from none.",
    )


def _check_stage(where: str, stage: StageConfig):
  if not any(term.weight for term in stage.terms.values()):
    raise UserError(
      f"{where}.terms", "no term with a weight", "at least one", "Give a term a weight."
    )
  _known(
    stage.select, ["mse", "l1", "loss", *stage.terms], f"{where}.select", "a quantity"
  )
  for name, term in stage.terms.items():
    if name in RESERVED:
      raise UserError(
        f"{where}.terms.{name}",
        "a name that the log needs itself",
        f"a term called none of {', '.join(RESERVED)}",
        "Rename the term.",
      )
    if len(term.hint) > 1 and len(term.guided) != len(term.hint):
      raise UserError(
        f"{where}.terms.{name}",
        f"{len(term.guided)} guided and {len(term.hint)} hint layers",
        "as many guided layers as hint layers",
        "Name one teacher layer for each student layer.",
      )


def _known(name, names, where, what):
  if name not in names:
    raise UserError(
      where, f"{name!r}", f"{what} ({', '.join(names) or 'none'})", "Correct the name."
    )
