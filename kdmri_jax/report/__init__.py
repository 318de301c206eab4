"""The report of an experiment as HTML, Markdown and JSON."""

from kdmri_jax.report.analysis import analyse
from kdmri_jax.report.files import write
from kdmri_jax.report.inputs import Attention, Budget, ReportInput
from kdmri_jax.report.rows import format_table, ranked, summary_rows

__all__ = [
  "Attention",
  "Budget",
  "ReportInput",
  "analyse",
  "format_table",
  "ranked",
  "summary_rows",
  "write",
]
