"""What the weights of a stage start from, as a setting names it."""

PRETRAINED = "pretrained:"


def parts(text: str) -> tuple[str, str]:
  """The stage or network of "STAGE", "STAGE/PART" or "pretrained:NAME", and the part.

  NAME may be the path of a card. The part is "" where all weights are meant.
  """
  if text.startswith(PRETRAINED):
    return text, ""
  name, _, part = text.partition("/")
  return name, part
