"""The report of an experiment as HTML, Markdown and JSON.

Each name is imported when it is first used: training needs none of the figures.
"""

from typing import TYPE_CHECKING

from kdmri_jax import lazy

if TYPE_CHECKING:
  from kdmri_jax.report.analysis import analyse
  from kdmri_jax.report.files import write
  from kdmri_jax.report.inputs import Attention, Budget, ReportInput
  from kdmri_jax.report.rows import format_table, ranked, summary_rows

__all__ = [
  "Attention",
  "Budget",
  "GivenStage",
  "ReportInput",
  "analyse",
  "format_table",
  "ranked",
  "summary_rows",
  "write",
]

__getattr__ = lazy.attributes(
  __name__,
  {
    "Attention": "inputs:Attention",
    "Budget": "inputs:Budget",
    "GivenStage": "inputs:GivenStage",
    "ReportInput": "inputs:ReportInput",
    "analyse": "analysis:analyse",
    "format_table": "rows:format_table",
    "ranked": "rows:ranked",
    "summary_rows": "rows:summary_rows",
    "write": "files:write",
  },
)
