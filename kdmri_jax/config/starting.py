"""What the weights of a stage start from, as a setting names it."""

from collections.abc import Mapping
from typing import Any

PRETRAINED = "pretrained:"


def parts(text: str) -> tuple[str, str]:
  """The stage or network of "STAGE", "STAGE/PART" or "pretrained:NAME", and the part.

  NAME may be the path of a card. The part is "" where all weights are meant.
  """
  if text.startswith(PRETRAINED):
    return text, ""
  name, _, part = text.partition("/")
  return name, part


def takes_layers(stage: Mapping[str, Any]) -> bool:
  """Whether a stage, as its settings, begins with layers of another network."""
  return bool(stage.get("shrink")) or parts(stage.get("start_from", ""))[1] == "layers"
