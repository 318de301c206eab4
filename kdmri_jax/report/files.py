"""Writes the report's files, all of them or none."""

import os
import pathlib
import shutil
from collections.abc import Iterator

from matplotlib.figure import Figure

from kdmri_jax.report import comparisons, content, figures, pages, tables
from kdmri_jax.report.analysis import analyse
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import main, summary_records


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
  drawn = []
  for name, figure in _figures(inputs, analysis):
    figures.save(figure, folder / "figures" / f"{name}.png")
    drawn.append(name)
  document = content.document(inputs, analysis, drawn)
  for name in pages.FORMATS:
    tables.write_text(folder / name, pages.render(name, document))
  tables.write_json(folder / "report.json", analysis)
  records = summary_records(analysis["rows"], inputs.tables.metrics)
  tables.write_csv(folder / "summary.csv", records)
  tables.write_tables(folder, inputs.tables)


def _figures(inputs: ReportInput, analysis: dict) -> Iterator[tuple[str, Figure]]:
  """The figures that have data, each with the name of its function."""
  shown = main(inputs.tables.metrics)
  pairs = [p for p in comparisons.drawn_pairs(analysis) if p["metric"] in shown]
  maps = inputs.attention and inputs.attention.maps
  look = {"colours": figures.colours(analysis["networks"])}
  beside = {"metrics": tuple(shown.values()), "data_range": inputs.comparison_range}
  for draw, data, options in (
    (figures.comparison, inputs.comparison_images, {**beside, **look}),
    (figures.differences, pairs, {"metrics": shown, **look}),
    (figures.mask, inputs.mask_image, {}),
    (figures.regions, inputs.snr and inputs.snr.pictures, {}),
    (figures.learning_curves, inputs.epochs, look),
    (figures.audit, inputs.audits, {}),
    (figures.attention_maps, maps, look),
  ):
    if data is not None and len(data):
      yield draw.__name__, draw(data, **options)


def _take_place(fresh, directory):
  """Replaces a report; keeps the files of the folder that no report writes."""
  old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
  if directory.exists():
    os.rename(directory, old)
  os.rename(fresh, directory)
  if old.exists():
    written = {"figures", *os.listdir(directory)}
    for name in set(os.listdir(old)) - written:
      os.rename(old / name, directory / name)
    shutil.rmtree(old)
