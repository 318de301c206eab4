"""A document as files; `templates` holds the layout of each format."""

import base64
import io
import re
from collections.abc import Mapping

import jinja2
from PIL import Image

from kdmri_jax.report.blocks import Document

_PIXELS_PER_INCH = 110  # text of 10 points is then about as large as the page's


def render(name: str, document: Document, figures: Mapping[str, bytes]) -> str:
  """The text of a document in one of `folder.PAGES`.

  The HTML page holds its figures and needs no other file. Markdown links them by their
  relative path.

  Args:
    name: the format.
    document: its content.
    figures: name -> PNG of each figure in it.
  """
  return _TEMPLATES.get_template(name).render(document._asdict(), figures=figures)


def _data_uri(content: bytes) -> str:
  return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _screen_width(content: bytes) -> int:
  """The width of a PNG with its resolution on the screen, in pixels."""
  with Image.open(io.BytesIO(content)) as image:
    return round(image.width / image.info["dpi"][0] * _PIXELS_PER_INCH)


def _anchor(title: str) -> str:
  """The anchor of a heading, as Markdown's readers make it, too."""
  return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


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
_TEMPLATES.filters["anchor"] = _anchor
_TEMPLATES.filters["uri"] = _data_uri
_TEMPLATES.filters["screen_width"] = _screen_width
