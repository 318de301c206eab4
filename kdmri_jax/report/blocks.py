"""The parts of a document, before it becomes HTML or Markdown."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Section:
  """A heading and its blocks."""

  title: str
  blocks: list


@dataclasses.dataclass(frozen=True)
class Paragraph:
  """Plain text."""

  text: str


@dataclasses.dataclass(frozen=True)
class Answer:
  """The result in sentences, and a few key numbers (value, label)."""

  sentences: list[str]
  numbers: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Cautions:
  """Limitations to consider before quoting a number."""

  items: list[str]


@dataclasses.dataclass(frozen=True)
class Table:
  """Rows of text; the first column names the row.

  Attributes:
    header: column titles.
    rows: cells.
    note: small text below.
    highlight: index of the highlighted row, or None.
    colours: row name -> hexadecimal colour of its mark.
  """

  header: tuple[str, ...]
  rows: list[tuple[str, ...]]
  note: str = ""
  highlight: int | None = None
  colours: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Picture:
  """A figure file beside the document; `narrow` ones need not fill the page."""

  file: str
  alt: str
  caption: str
  narrow: bool = False


@dataclasses.dataclass(frozen=True)
class Facts:
  """Names and values."""

  items: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Links:
  """Files beside the document: (file, description)."""

  items: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Folded:
  """Long text that is shown on demand."""

  title: str
  text: str
