"""The parts of a document, before it becomes HTML or Markdown."""

from typing import NamedTuple


class Paragraph(NamedTuple):
  """Plain text."""

  text: str


class Answer(NamedTuple):
  """The result in sentences, and a few key numbers (value, label)."""

  sentences: list[str]
  numbers: list[tuple[str, str]]


class Cautions(NamedTuple):
  """Limitations to consider before quoting a number."""

  items: list[str]


class Missing(NamedTuple):
  """Says that a part of the document is missing, and why."""

  text: str


class Table(NamedTuple):
  """Rows of text; the first column names the row.

  Attributes:
    header: column titles.
    rows: cells.
    note: small text below.
    highlight: index of the highlighted row, or None.
    texts: whether the cells are sentences, which are broken into lines.
  """

  header: tuple[str, ...]
  rows: list[tuple[str, ...]]
  note: str = ""
  highlight: int | None = None
  texts: bool = False


class Picture(NamedTuple):
  """A figure of the report, by its name; `narrow` ones need not fill the page."""

  name: str
  alt: str
  caption: str
  narrow: bool = False


class Layer(NamedTuple):
  """A picture of a slice: its name, the content of a PNG file, and its numbers."""

  name: str
  png: bytes
  text: str


class Slice(NamedTuple):
  """The pictures of a slice, all of one size.

  Attributes:
    title: its subject, volume and number.
    width: of a picture on the screen, in pixels.
    height: likewise.
    pictures: an image of each network, then the errors.
  """

  title: str
  width: int
  height: int
  pictures: list[Layer]


class Viewer(NamedTuple):
  """Slices to move through and pictures to compare; only the page shows them."""

  slices: list[Slice]
  caption: str


class Facts(NamedTuple):
  """Names and values, with a heading where there is one."""

  items: list[tuple[str, str]]
  title: str = ""


class Links(NamedTuple):
  """Files beside the document: (file, description)."""

  items: list[tuple[str, str]]


class Folded(NamedTuple):
  """Long text that is shown on demand."""

  title: str
  text: str


class Section(NamedTuple):
  """A heading and its blocks."""

  title: str
  blocks: list


class Document(NamedTuple):
  """A whole document.

  Attributes:
    title: heading.
    subtitle: a line below it.
    sections: the content.
    colours: model -> hexadecimal colour of its mark in the tables' first column.
  """

  title: str
  subtitle: str
  sections: list[Section]
  colours: dict[str, str]
