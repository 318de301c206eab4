"""Words for what the data are divided by: mostly subjects, but not always."""

from collections.abc import Iterable

from kdmri_jax.config import DataConfig

SUBJECT, FILE = "subject", "file"


def unit_of(config: DataConfig, default: str) -> str:
  """What a source's subjects are: subjects where `config.subject_pattern` names them.

  Args:
    config: the data settings.
    default: what they are without a pattern, such as `FILE` where nothing says whose
      images a file holds.
  """
  return SUBJECT if config.subject_pattern else default


def note_of(config: DataConfig) -> str:
  """What a report says of files without subjects; "" where a pattern names them."""
  if config.subject_pattern:
    return ""
  return "Each file counts as a subject, because data.subject_pattern is not set."


def common(units: Iterable[str]) -> str:
  """The one unit of all volumes; `FILE` where they differ."""
  found = set(units)
  return found.pop() if len(found) == 1 else FILE


def plural(unit: str) -> str:
  """The word for several: "subjects", "slabs of one head"."""
  noun, space, rest = unit.partition(" ")
  return f"{noun}s{space}{rest}"


def counted(count: int, unit: str) -> str:
  """A number and the word for it: "1 subject", "12 slabs of one head"."""
  return f"{count} {unit if count == 1 else plural(unit)}"
