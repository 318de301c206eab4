"""The reference of all settings, written from the schema; and which keys are free."""

import dataclasses
import inspect
import re
import typing

from kdmri_jax.config.schema import ExperimentConfig
from kdmri_jax.config.setting import keys

_HEAD = """# Settings

Every key of an experiment, in the form in which `--config.KEY=VALUE` sets it. NAME
stands for the name of a task, model, stage, term or source. A key without default must
be set. A run may be resumed with another value of a key marked *free*: such keys change
the speed of a run or its report, not the training. `kdmri_jax.config.reference()`
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
  kind: type | None = ExperimentConfig
  names = iter(key.split("."))
  for name in names:
    own = keys(kind).get(name) if kind is not None else None
    if own is None or own.limits.free:
      return own is not None
    if own.is_named:
      next(names, None)
    kind = own.group
  return False


def _section(kind, where: str, free: bool, shown: dict[type, str]) -> list[str]:
  """The section of a group of settings, then those of the groups in it."""
  if kind in shown:
    return [f"\n## {where}\n\nAs `{shown[kind]}`.\n"]
  shown[kind] = where
  summary, meanings = (inspect.getdoc(kind) or "").splitlines()[0], _meanings(kind)
  lines = [f"\n## {where}\n\n{summary}\n"]
  inner = []
  for name, own in keys(kind).items():
    key, is_free = f"{where}.{name}", free or own.limits.free
    if own.group:
      group = f"{key}.NAME" if own.is_named else key
      inner += _section(own.group, group, is_free, shown)
    facts = [_type(own.type), _default(own.default), str(own.limits)]
    stated = ", ".join(filter(None, [*facts, "*free*" if is_free else ""]))
    lines.append(f"\n- **{name}** ({stated}): {meanings[name]}")
  return ["".join(lines) + "\n", *inner]


def _type(kind) -> str:
  if typing.get_origin(kind) is None:
    return "group" if dataclasses.is_dataclass(kind) else kind.__name__
  text = re.sub(r"\b(\w+\.)+", "", str(kind)).replace(", ...", " ...")
  return text.replace("Config]", "]")


def _default(value) -> str:
  if value is dataclasses.MISSING:
    return "no default"
  return "" if dataclasses.is_dataclass(value) else f"default `{value!r}`"


def _meanings(kind) -> dict[str, str]:
  """Name -> text of each line under Attributes in its docstring or a base's."""
  meanings = {}
  for each in reversed(kind.__mro__):
    _, _, attributes = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", attributes, re.MULTILINE)
    meanings |= {name: " ".join(text.split()) for name, text in found}
  return meanings
