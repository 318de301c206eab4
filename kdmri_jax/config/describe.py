"""The reference of all settings, written from the schema; and which keys are free."""

import dataclasses
import inspect
import re
import typing

from kdmri_jax.config.schema import ExperimentConfig
from kdmri_jax.config.setting import limits

_HEAD = """# Settings

Every key of an experiment, in the form in which `--config.KEY=VALUE` sets it. NAME
stands for the name of a task, model, stage or term. A key without default must be set.
A run may be resumed with another value of a key marked *free*: such keys change the
speed of a run or its report, not the training. `kdmri_jax.config.reference()`
writes this page from the schema.
"""


def reference() -> str:
  """The reference of all keys as Markdown: name, type, default, limits, meaning."""
  return _HEAD + "".join(_section(ExperimentConfig, "config", False, {}))


def is_free(key: str) -> bool:
  """Whether a key changes only the speed of a run or its report, not the training.

  Args:
    key: dotted, without "config.", such as "stages.kd.epochs".
  """
  kind, names = ExperimentConfig, iter(key.split("."))
  for name in names:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if name not in fields:
      return False
    if limits(fields[name]).free:
      return True
    kind, named = _inner(typing.get_type_hints(kind)[name])
    if kind is None:
      return False
    if named:
      next(names, None)
  return False


def _inner(kind) -> tuple[type | None, bool]:
  """The group of settings in a type, if any; whether it holds several, by name."""
  if dataclasses.is_dataclass(kind):
    return kind, False
  if typing.get_origin(kind) is dict:
    (_, value) = typing.get_args(kind)
    return (value, True) if dataclasses.is_dataclass(value) else (None, False)
  return None, False


def _section(kind, where: str, free: bool, shown: dict[type, str]) -> list[str]:
  """The section of a group of settings, then those of the groups in it."""
  if kind in shown:
    return [f"\n## {where}\n\nAs `{shown[kind]}`.\n"]
  shown[kind] = where
  types, meanings = typing.get_type_hints(kind), _meanings(kind)
  summary = (inspect.getdoc(kind) or "").splitlines()[0]
  lines = [f"\n## {where}\n\n{summary}\n"]
  inner = []
  for field in dataclasses.fields(kind):
    own = limits(field)
    key, is_free = f"{where}.{field.name}", free or own.free
    group, named = _inner(types[field.name])
    if group:
      inner += _section(group, f"{key}.NAME" if named else key, is_free, shown)
    facts = [_type(types[field.name]), _default(field), str(own)]
    facts.append("*free*" if is_free else "")
    stated = ", ".join(filter(None, facts))
    lines.append(f"\n- **{field.name}** ({stated}): {meanings[field.name]}")
  return ["".join(lines) + "\n", *inner]


def _type(kind) -> str:
  if typing.get_origin(kind) is None:
    return "group" if dataclasses.is_dataclass(kind) else kind.__name__
  text = re.sub(r"\b(\w+\.)+", "", str(kind)).replace(", ...", " ...")
  return text.replace("Config]", "]")


def _default(field: dataclasses.Field) -> str:
  if field.default is not dataclasses.MISSING:
    return f"default `{field.default!r}`"
  if field.default_factory is dict:
    return "default `{}`"
  return "no default" if field.default_factory is dataclasses.MISSING else ""


def _meanings(kind) -> dict[str, str]:
  """Name -> text of each line under Attributes in a docstring."""
  _, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")
  found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", attributes, re.MULTILINE)
  return {name: " ".join(text.split()) for name, text in found}
