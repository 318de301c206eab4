"""Writes the report's files, all of them or none."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from kdmri_jax import json_text, scratch
from kdmri_jax.report import (
  claim,
  comparisons,
  content,
  figures,
  folder,
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
    UserError: see `folder.check`; or the folder cannot be written or the disk is full.
  """
  directory = pathlib.Path(directory)
  analysis = analysis or analyse(inputs)
  make_folder(directory)
  with saving(directory), scratch.folder_in(directory) as fresh:
    _fill(fresh, inputs, analysis)
    folder.check(directory)
    _take_place(fresh, directory)
  return directory / "index.html"


def _fill(directory, inputs, analysis):
  drawn = {}
  for name, data, options in _figures(inputs, analysis):
    draw, place = getattr(figures, name), folder.FIGURES[name]
    part = f"the figure of {name.replace('_', ' ')}"
    made = inputs.parts.make(place, part, _drawn, draw, data, options, otherwise={})
    for kind, image in made.items():
      make_folder(directory / folder.PICTURES)
      with replacing(directory / folder.PICTURES / f"{name}.{kind}") as temporary:
        temporary.write_bytes(image)
    if made:
      drawn[name] = made["png"]
  document = content.document(inputs, analysis, drawn)
  for name in folder.PAGES:
    text = inputs.parts.make(
      *(parts.FILES, name, pages.render, name, document, drawn), otherwise=""
    )
    if text:
      tables.write_text(directory / name, text)
  failed = [failure._asdict() for failure in inputs.parts.failed]
  whole = {**analysis, "failed": failed}
  bare = {"protocol_definition": analysis["protocol_definition"], "failed": failed}
  text = inputs.parts.make(
    *(parts.FILES, "report.json", json_text.dumps, whole, 2),
    otherwise=json_text.dumps(bare),
  )
  tables.write_text(directory / "report.json", f"{text}\n")
  records = summary_records(analysis["rows"], inputs.tables.metrics)
  tables.write_csv(directory / "summary.csv", records)
  table = analysis["rows"], inputs.tables.metrics
  tables.write_csv(directory / "table.csv", paper.records(*table))
  tables.write_text(directory / "table.tex", paper.latex(*table, analysis["best"]))
  _for_paper(directory, inputs, analysis)
  if inputs.robustness:
    shifted = [
      {"condition": condition, **record}
      for condition, each in inputs.robustness.items()
      for record in each.volumes
    ]
    tables.write_csv(directory / "robustness.csv", shifted)
  tables.write_tables(directory, inputs.tables)


def _for_paper(directory, inputs, analysis):
  """Writes the methods, the checklist and the references."""

  def made(part, function, *arguments, otherwise):
    return inputs.parts.make(
      parts.PAPER, part, function, *arguments, otherwise=otherwise
    )

  known = inputs, analysis
  text = made("methods.md", methods_text.markdown, *known, otherwise="")
  tables.write_text(directory / "methods.md", text)
  records = made("claim.csv", claim.records, *known, otherwise=[])
  tables.write_csv(directory / "claim.csv", records)
  found = made("references.bib", references.keys, inputs, otherwise=[])
  tables.write_text(directory / "references.bib", references.bibtex(found))


def _drawn(draw, data, options) -> dict[str, bytes]:
  """A figure in each of `folder.KINDS`."""
  figure = draw(data, **options)
  return {"png": figures.png(figure), "pdf": figures.pdf(figure)}


def _figures(inputs: ReportInput, analysis: dict) -> Iterator[tuple]:
  """The figures that have data: name, data and options."""
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
  for name, (data, options) in zip(folder.FIGURES, contents, strict=True):
    if data is not None and len(data):
      yield name, data, options


def _take_place(fresh, directory):
  """Replaces the files of a report, and no others."""
  pictures = directory / folder.PICTURES
  if pictures.is_symlink():
    pictures.unlink()
  for name in reversed(folder.FILES):
    (directory / name).unlink(missing_ok=True)
  pictures.mkdir(exist_ok=True)
  for name in folder.FILES:
    if (fresh / name).exists():
      os.replace(fresh / name, directory / name)
  with contextlib.suppress(OSError):  # other files, or figures, are in it
    pictures.rmdir()
