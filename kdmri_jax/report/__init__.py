"""The report of an experiment as HTML, Markdown and JSON."""

from kdmri_jax.report.analysis import analyse
from kdmri_jax.report.files import write
from kdmri_jax.report.inputs import Attention, Budget, ReportInput
from kdmri_jax.report.rows import by_psnr, format_table, summary_rows

__all__ = [
  "Attention",
  "Budget",
  "ReportInput",
  "analyse",
  "by_psnr",
  "format_table",
  "summary_rows",
  "write",
]
