"""The report of an experiment as HTML, Markdown and JSON."""

from kdmri_jax.evaluation.report.analysis import (
  ReportInput,
  analyse,
  format_table,
  summary_rows,
)
from kdmri_jax.evaluation.report.files import write

__all__ = ["ReportInput", "analyse", "format_table", "summary_rows", "write"]
