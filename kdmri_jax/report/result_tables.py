"""The report's tables of results."""

from kdmri_jax.data.split import plural
from kdmri_jax.report import blocks, wording
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import cells, main, shown
from kdmri_jax.report.rows import further as further_metrics


def first(inputs: ReportInput, analysis: dict) -> list:
  """The table of the first two metrics, over the units that are compared."""
  rows, unit = shown(analysis)
  return [_table(inputs, analysis, rows, unit)]


def further(inputs: ReportInput, analysis: dict) -> list:
  """The table of the further metrics; and of the first two over volumes, if need be."""
  metrics, found = inputs.tables.metrics, []
  if analysis["slice_rows"]:
    table = _table(inputs, analysis, analysis["rows"], "volume")
    note = f"The same over volumes, as in summary.csv. {table.note}"
    found.append(table._replace(note=note))
  more = further_metrics(metrics)
  rows = [
    (row["model"], *(wording.mean_sd(row[name], m) for name, m in more.items()))
    for row in analysis["rows"]
  ]
  note = "Mean ± sample standard deviation over volumes."
  names = (*main(metrics), *more)
  if left_out := sum(
    row[name]["left_out"] for row in analysis["rows"] for name in names
  ):
    note += f" {left_out} values are undefined or infinite and were omitted from means."
  if more or left_out:
    header = ("model", *_titles(more).values())
    found.append(blocks.Table(header, rows, note))
  return found


def _table(inputs, analysis, rows, unit):
  metrics = inputs.tables.metrics
  header, body = cells(rows, _titles(main(metrics)), metrics, unit)
  models, best = [row["model"] for row in rows], analysis["best"]
  highlight = models.index(best) if best else None
  return blocks.Table(header, body, _note(inputs, rows, unit, best), highlight)


def _note(inputs, rows, unit, best):
  roles, each, over = inputs.roles, "", ""
  if len(inputs.seeds) > 1:
    each = ", mean over seeds"
    over = (
      " of their means over seeds; sd over seeds is that of the seeds' means over "
      f"{unit}s"
    )
  note = (
    f"Protocol {roles.protocol}. Mean ± sample standard deviation over {unit}s{over}; "
    "arrows point to better."
  )
  if unit == "slice":
    note += (
      f" Slices are compared, because there are few {plural(inputs.unit)}; the means "
      "over volumes stand below."
    )
  if inputs.budgets:
    note += (
      f" Steps and minutes of training{each}: of the stage and of those it starts "
      "from; a teacher counts only where it is one of these."
    )
  for name, given in inputs.given.items():
    same = ", the same for all seeds" if name in inputs.once else ""
    note += f" {name} was not trained in this run; given: {given.origin}{same}."
  if any(row["published"] for row in rows):
    note += (
      f" Published: {roles.published_source}, under the same protocol; of its own "
      "images, mask and training."
    )
  if best:
    metric = next(iter(inputs.tables.metrics.values()))
    note += (
      f" Highlighted: {best}, of the networks smaller than {roles.teacher} the one "
      f"with the {'highest' if metric.higher_is_better else 'lowest'} {metric.title}."
    )
  return note


def _titles(metrics):
  return {
    name: f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"
    for name, metric in metrics.items()
  }
