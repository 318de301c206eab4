"""A document as files; `templates` holds the layout of each format."""

import re

import jinja2

from kdmri_jax.report.blocks import Document

FORMATS = ("index.html", "report.md")


def render(name: str, document: Document) -> str:
  """The text of a document in one of `FORMATS`.

  Figures are linked by their relative path. The HTML page needs no scripts and no other
  outside resources.
  """
  return _TEMPLATES.get_template(name).render(document._asdict())


def _escaped(text: str) -> str:
  """Text on one line in which no character has a meaning in Markdown."""
  return " ".join(re.sub(r"([\\`*_<>\[\]])", r"\\\1", text).split())


_TEMPLATES = jinja2.Environment(
  loader=jinja2.PackageLoader("kdmri_jax.report"),
  autoescape=jinja2.select_autoescape(["html"]),
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)
_TEMPLATES.filters["text"] = _escaped
