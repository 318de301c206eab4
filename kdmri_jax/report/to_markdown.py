"""A document as Markdown."""

import functools

from kdmri_jax.report import blocks


def render(title: str, sections: list) -> str:
  """Markdown of a document; pictures are linked by their relative path."""
  parts = [f"# {_text(title)}"]
  for section in sections:
    parts.append(f"## {_text(section.title)}")
    parts += [_block(block) for block in section.blocks]
  return "\n\n".join(part for part in parts if part) + "\n"


@functools.singledispatch
def _block(block) -> str:
  raise TypeError(f"no Markdown for {type(block).__name__}")


@_block.register
def _(block: blocks.Paragraph):
  return _text(block.text)


@_block.register
def _(block: blocks.Answer):
  numbers = [f"- **{_text(value)}** {_text(label)}" for value, label in block.numbers]
  return "\n\n".join([*map(_text, block.sentences), "\n".join(numbers)])


@_block.register
def _(block: blocks.Cautions):
  return "\n".join(f"> - {_text(item)}" for item in block.items)


@_block.register
def _(block: blocks.Table):
  lines = [_row(block.header), "|---" + "|---:" * (len(block.header) - 1) + "|"]
  for index, row in enumerate(block.rows):
    bold = index == block.highlight
    lines.append(_row([f"**{cell}**" for cell in row] if bold else row))
  return "\n".join(lines) + (f"\n\n{_text(block.note)}" if block.note else "")


@_block.register
def _(block: blocks.Picture):
  return f"![{_text(block.alt)}]({block.file})\n\n*{_text(block.caption)}*"


@_block.register
def _(block: blocks.Facts):
  return "\n".join(f"- {_text(name)}: {_text(value)}" for name, value in block.items)


@_block.register
def _(block: blocks.Links):
  return "\n".join(f"- [{file}]({file}): {_text(what)}" for file, what in block.items)


@_block.register
def _(block: blocks.Folded):
  return f"**{_text(block.title)}**\n\n```\n{block.text}\n```"


def _row(cells):
  return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text(text):
  for character in "\\`*_<>[]":
    text = text.replace(character, "\\" + character)
  return " ".join(text.split())
