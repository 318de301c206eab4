"""The folder of a report: its files, and whether they may be written."""

import os
import pathlib

from kdmri_jax.errors import UserError
from kdmri_jax.report import parts, tables

FIGURES = {  # and the place of each
  "comparison": parts.RESULTS,
  "differences": parts.PAIRED,
  "mask": parts.MEASURED,
  "regions": parts.SIGNAL,
  "sizes": parts.SIZES,
  "learning_curves": parts.TRAINED,
  "audit": parts.AUDIT,
  "attention_maps": parts.ATTENTION,
}
PICTURES = "figures"
KINDS = ("png", "pdf")
PAGES = ("index.html", "report.md")
# In the order in which they take their places: of a replacement that was killed, the
# page is missing. They are removed in the opposite order.
FILES = (
  "report.json",
  "summary.csv",
  "table.csv",
  "table.tex",
  "references.bib",
  "methods.md",
  "claim.csv",
  "robustness.csv",
  *tables.FILES,
  *(f"{PICTURES}/{name}.{kind}" for name in FIGURES for kind in KINDS),
  *reversed(PAGES),
)
_MARK = b'"protocol_definition"'  # in the report.json of every report


def check(directory: pathlib.Path) -> None:
  """Refuses a folder in which a report would replace files of somebody else.

  Raises:
    UserError: such a file; or a folder with the name of a file of the report, or a file
      with the name of its folder.
  """
  remedy = "Move it, or choose another folder."
  pictures, mark = directory / PICTURES, directory / "report.json"
  if pictures.exists() and not pictures.is_dir():
    raise UserError(pictures, "a file", "a folder, or nothing of this name", remedy)
  there = [directory / name for name in FILES if os.path.lexists(directory / name)]
  for path in there:
    if path.is_dir() and not path.is_symlink():
      raise UserError(path, "a folder", "a file, or nothing of this name", remedy)
  if there and not (mark.is_file() and _MARK in mark.read_bytes()):
    expected = "files of an earlier report, or none of their names"
    raise UserError(there[0], "a file that no report wrote", expected, remedy)
