"""A document as one HTML page without scripts or outside resources."""

import functools
from html import escape

from kdmri_jax.report import blocks
from kdmri_jax.report.css import CSS

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header><h1>{title}</h1><p>{subtitle}</p></header>
<main>
{body}
</main>
</body>
</html>
"""


def render(title: str, subtitle: str, sections: list) -> str:
  """A page; pictures and files are linked by their relative path."""
  body = "\n".join(
    f"<section>\n<h2>{escape(section.title)}</h2>\n"
    + "\n".join(map(_block, section.blocks))
    + "\n</section>"
    for section in sections
  )
  return _PAGE.format(
    title=escape(title), subtitle=escape(subtitle), css=CSS, body=body
  )


@functools.singledispatch
def _block(block) -> str:
  raise TypeError(f"no HTML for {type(block).__name__}")


@_block.register
def _(block: blocks.Paragraph):
  return f"<p>{escape(block.text)}</p>"


@_block.register
def _(block: blocks.Answer):
  tiles = "".join(
    f"<li><b>{escape(value)}</b><span>{escape(label)}</span></li>"
    for value, label in block.numbers
  )
  first, *rest = (escape(sentence) for sentence in block.sentences)
  text = f'<p class="first">{first}</p>' + "".join(f"<p>{line}</p>" for line in rest)
  return f'<div class="answer">{text}</div>' + (
    f'<ul class="numbers">{tiles}</ul>' if tiles else ""
  )


@_block.register
def _(block: blocks.Cautions):
  items = "".join(f"<li>{escape(item)}</li>" for item in block.items)
  return f"<aside><h3>Before you quote a number</h3><ul>{items}</ul></aside>"


@_block.register
def _(block: blocks.Table):
  head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in block.header)
  body = "".join(
    _row(row, block.colours.get(row[0]), index == block.highlight)
    for index, row in enumerate(block.rows)
  )
  note = f'<p class="note">{escape(block.note)}</p>' if block.note else ""
  return (
    f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>{note}"
  )


@_block.register
def _(block: blocks.Picture):
  kind = ' class="narrow"' if block.narrow else ""
  return (
    f'<figure{kind}><a href="{escape(block.file)}"><img src="{escape(block.file)}" '
    f'alt="{escape(block.alt)}"></a><figcaption>{escape(block.caption)}</figcaption>'
    "</figure>"
  )


@_block.register
def _(block: blocks.Facts):
  items = "".join(
    f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
    for name, value in block.items
  )
  return f"<dl>{items}</dl>"


@_block.register
def _(block: blocks.Links):
  items = "".join(
    f'<li><a href="{escape(file)}">{escape(file)}</a> {escape(what)}</li>'
    for file, what in block.items
  )
  return f"<ul>{items}</ul>"


@_block.register
def _(block: blocks.Folded):
  return (
    f"<details><summary>{escape(block.title)}</summary>"
    f"<pre>{escape(block.text)}</pre></details>"
  )


def _row(cells, colour, highlight):
  first, *rest = map(escape, cells)
  mark = f'<i style="background:{colour}"></i>' if colour else ""
  kind = ' class="best"' if highlight else ""
  data = "".join(f"<td>{cell}</td>" for cell in rest)
  return f'<tr{kind}><th scope="row">{mark}{first}</th>{data}</tr>'
