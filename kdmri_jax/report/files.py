"""Writes the report's files, all of them or none."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from kdmri_jax import json_text, scratch
from kdmri_jax.errors import UserError
from kdmri_jax.report import (
  claim,
  comparisons,
  content,
  figures,
  methods_text,
  pages,
  paper,
  parts,
  references,
  tables,
)
from kdmri_jax.report.analysis import analyse
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import main, summary_records
from kdmri_jax.saving import make_folder, replacing, saving

_FIGURES = {  # and the place of each
  figures.comparison: parts.RESULTS,
  figures.differences: parts.PAIRED,
  figures.mask: parts.MEASURED,
  figures.regions: parts.SIGNAL,
  figures.sizes: parts.SIZES,
  figures.learning_curves: parts.TRAINED,
  figures.audit: parts.AUDIT,
  figures.attention_maps: parts.ATTENTION,
}
_PICTURES = "figures"
_KINDS = ("png", "pdf")
# The files of a report in the order in which they take their places: of a replacement
# that was killed, the page is missing. They are removed in the opposite order.
_FILES = (
  "report.json",
  "summary.csv",
  "table.csv",
  "table.tex",
  "references.bib",
  "methods.md",
  "claim.csv",
  "robustness.csv",
  *tables.FILES,
  *(f"{_PICTURES}/{draw.__name__}.{kind}" for draw in _FIGURES for kind in _KINDS),
  *reversed(pages.FORMATS),
)
_MARK = b'"protocol_definition"'  # in the report.json of every report


def write(
  directory: str | os.PathLike, inputs: ReportInput, *, analysis: dict | None = None
) -> pathlib.Path:
  """Writes index.html, report.md, report.json, figures/ and the tables.

  All files are written to a temporary folder in `directory` first; until the last one
  is complete, an earlier report stays unchanged. Then all its files are removed before
  the first new one takes its place, and index.html comes last: a page never shows parts
  of two reports. Other files in `directory` are kept. `directory` may be a link; a link
  with the name of one of the files is replaced, not what it leads to.

  A part of the report that fails is told in its place and in `inputs.parts`.

  Args:
    directory: folder of the report; its parents are created when missing.
    inputs: the inputs of the report.
    analysis: result of `analyse(inputs)` where the caller has it already.

  Returns:
    The path of index.html.

  Raises:
    UserError: see `check_folder`; or the folder cannot be written or the disk is full.
  """
  directory = pathlib.Path(directory)
  analysis = analysis or analyse(inputs)
  make_folder(directory)
  with saving(directory), scratch.folder_in(directory) as fresh:
    _fill(fresh, inputs, analysis)
    check_folder(directory)
    _take_place(fresh, directory)
  return directory / "index.html"


def check_folder(directory: pathlib.Path) -> None:
  """Refuses a folder in which a report would replace files of somebody else.

  Raises:
    UserError: such a file; or a folder with the name of a file of the report, or a file
      with the name of its folder.
  """
  remedy = "Move it, or choose another folder."
  pictures, mark = directory / _PICTURES, directory / "report.json"
  if pictures.exists() and not pictures.is_dir():
    raise UserError(pictures, "a file", "a folder, or nothing of this name", remedy)
  there = [directory / name for name in _FILES if os.path.lexists(directory / name)]
  for path in there:
    if path.is_dir() and not path.is_symlink():
      raise UserError(path, "a folder", "a file, or nothing of this name", remedy)
  if there and not (mark.is_file() and _MARK in mark.read_bytes()):
    expected = "files of an earlier report, or none of their names"
    raise UserError(there[0], "a file that no report wrote", expected, remedy)


def _fill(folder, inputs, analysis):
  drawn = {}
  for draw, data, options in _figures(inputs, analysis):
    name, place = draw.__name__, _FIGURES[draw]
    part = f"the figure of {name.replace('_', ' ')}"
    made = inputs.parts.make(place, part, _drawn, draw, data, options, otherwise={})
    for kind, image in made.items():
      make_folder(folder / _PICTURES)
      with replacing(folder / _PICTURES / f"{name}.{kind}") as temporary:
        temporary.write_bytes(image)
    if made:
      drawn[name] = made["png"]
  document = content.document(inputs, analysis, drawn)
  for name in pages.FORMATS:
    text = inputs.parts.make(
      *(parts.FILES, name, pages.render, name, document, drawn), otherwise=""
    )
    if text:
      tables.write_text(folder / name, text)
  failed = [failure._asdict() for failure in inputs.parts.failed]
  whole = {**analysis, "failed": failed}
  bare = {"protocol_definition": analysis["protocol_definition"], "failed": failed}
  text = inputs.parts.make(
    *(parts.FILES, "report.json", json_text.dumps, whole, 2),
    otherwise=json_text.dumps(bare),
  )
  tables.write_text(folder / "report.json", f"{text}\n")
  records = summary_records(analysis["rows"], inputs.tables.metrics)
  tables.write_csv(folder / "summary.csv", records)
  table = analysis["rows"], inputs.tables.metrics
  tables.write_csv(folder / "table.csv", paper.records(*table))
  tables.write_text(folder / "table.tex", paper.latex(*table, analysis["best"]))
  _for_paper(folder, inputs, analysis)
  if inputs.robustness:
    shifted = [
      {"condition": condition, **record}
      for condition, each in inputs.robustness.items()
      for record in each.volumes
    ]
    tables.write_csv(folder / "robustness.csv", shifted)
  tables.write_tables(folder, inputs.tables)


def _for_paper(folder, inputs, analysis):
  """Writes the methods, the checklist and the references."""

  def made(part, function, *arguments, otherwise):
    return inputs.parts.make(
      parts.PAPER, part, function, *arguments, otherwise=otherwise
    )

  known = inputs, analysis
  text = made("methods.md", methods_text.markdown, *known, otherwise="")
  tables.write_text(folder / "methods.md", text)
  records = made("claim.csv", claim.records, *known, otherwise=[])
  tables.write_csv(folder / "claim.csv", records)
  found = made("references.bib", references.keys, inputs, otherwise=[])
  tables.write_text(folder / "references.bib", references.bibtex(found))


def _drawn(draw, data, options) -> dict[str, bytes]:
  """A figure in each of `_KINDS`."""
  figure = draw(data, **options)
  return {"png": figures.png(figure), "pdf": figures.pdf(figure)}


def _figures(inputs: ReportInput, analysis: dict) -> Iterator[tuple]:
  """The figures that have data: function, data and options."""
  shown = main(inputs.tables.metrics)
  pairs = [p for p in comparisons.drawn_pairs(analysis) if p["metric"] in shown]
  maps = inputs.attention and inputs.attention.maps
  look = {"colours": figures.colours(analysis["networks"])}
  beside = {"metrics": tuple(shown.values()), "data_range": inputs.comparison_range}
  contents = (
    (inputs.comparison_images, {**beside, **look}),
    (pairs, {"metrics": shown, **look}),
    (inputs.mask_image, {}),
    (inputs.snr and inputs.snr.pictures, {}),
    (analysis["sizes"], {"metric": next(iter(shown.values())), **look}),
    (inputs.epochs, look),
    (inputs.audits, {}),
    (maps, look),
  )
  for draw, (data, options) in zip(_FIGURES, contents, strict=True):
    if data is not None and len(data):
      yield draw, data, options


def _take_place(fresh, directory):
  """Replaces the files of a report, and no others."""
  pictures = directory / _PICTURES
  if pictures.is_symlink():
    pictures.unlink()
  for name in reversed(_FILES):
    (directory / name).unlink(missing_ok=True)
  pictures.mkdir(exist_ok=True)
  for name in _FILES:
    if (fresh / name).exists():
      os.replace(fresh / name, directory / name)
  with contextlib.suppress(OSError):  # other files, or figures, are in it
    pictures.rmdir()
