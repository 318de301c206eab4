"""Writes the report's files, all of them or none."""

import functools
import os
import pathlib
import shutil

from kdmri_jax.report import (
  comparisons,
  content,
  figures,
  tables,
  to_html,
  to_markdown,
  wording,
)
from kdmri_jax.report.analysis import analyse
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import main, summary_records

_OWN = {
  "index.html",
  "report.md",
  "report.json",
  "figures",
  "summary.csv",
  "volumes.csv",
  "volumes.json",
  "slices.csv",
  "slices.json",
}


def write(
  directory: str | os.PathLike, inputs: ReportInput, *, analysis: dict | None = None
) -> pathlib.Path:
  """Writes index.html, report.md, report.json, figures/ and the tables.

  All files are written to a new folder beside `directory`, which replaces it at the
  end; until then an earlier report stays unchanged. Files in `directory` that no report
  writes are kept.

  Args:
    directory: folder of the report; its parents are created when missing.
    inputs: the inputs of the report.
    analysis: result of `analyse(inputs)` where the caller has it already.

  Returns:
    The path of index.html.

  Raises:
    UserError: models were not measured on the same images.
    OSError: the folder cannot be written or the disk is full.
  """
  directory = pathlib.Path(directory)
  analysis = analysis or analyse(inputs)
  fresh = directory.with_name(f".{directory.name}.{os.getpid()}.new")
  shutil.rmtree(fresh, ignore_errors=True)
  fresh.mkdir(parents=True)
  try:
    _fill(fresh, inputs, analysis)
    _take_place(fresh, directory)
  finally:
    shutil.rmtree(fresh, ignore_errors=True)
  return directory / "index.html"


def _fill(folder, inputs, analysis):
  sections = content.sections(inputs, analysis, _draw(folder, inputs, analysis))
  where = inputs.dataset.get("source")
  subtitle = f"Protocol {inputs.protocol}" + (f", data: {where}" if where else "")
  if len(inputs.seeds) > 1:
    subtitle += f", {wording.seeds(len(inputs.seeds))}"
  page = to_html.render(inputs.title, subtitle, sections)
  tables.write_text(folder / "index.html", page)
  text = to_markdown.render(inputs.title, sections)
  tables.write_text(folder / "report.md", text)
  tables.write_json(folder / "report.json", analysis)
  records = summary_records(analysis["rows"], inputs.tables.metrics)
  tables.write_csv(folder / "summary.csv", records)
  tables.write_tables(folder, inputs.tables)


def _draw(folder, inputs, analysis):
  """Draws the figures that have data; name -> relative path."""
  shown = main(inputs.tables.metrics)
  pairs = [p for p in comparisons.drawn_pairs(analysis) if p["metric"] in shown]
  diaries = [lines for runs in inputs.histories.values() for lines in runs]
  trained = any(line.get("event") == "epoch" for lines in diaries for line in lines)
  look = {"colours": figures.colours(analysis["networks"])}
  comparison = functools.partial(
    figures.comparison,
    metrics=tuple(shown.values()),
    data_range=inputs.comparison_range,
    **look,
  )
  differences = functools.partial(figures.differences, metrics=shown, **look)
  curves = functools.partial(figures.learning_curves, **look)
  wanted = {
    "comparison": (inputs.comparison_images, comparison),
    "differences": (pairs, differences),
    "mask": (inputs.mask_image, figures.mask),
    "regions": (inputs.snr and inputs.snr.pictures, figures.regions),
    "learning_curves": (inputs.histories if trained else None, curves),
    "audit": (inputs.audits, figures.audit),
    "attention_maps": (
      inputs.attention and inputs.attention.maps,
      functools.partial(figures.attention_maps, **look),
    ),
  }
  drawn = {}
  for name, (what, draw) in wanted.items():
    if what is not None and len(what):
      draw(folder / "figures" / f"{name}.png", what)
      drawn[name] = f"figures/{name}.png"
  return drawn


def _take_place(fresh, directory):
  if not directory.exists():
    os.rename(fresh, directory)
    return
  old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
  os.rename(directory, old)
  os.rename(fresh, directory)
  for path in old.iterdir():
    if path.name not in _OWN:
      os.rename(path, directory / path.name)
  shutil.rmtree(old)
