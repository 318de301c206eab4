"""The rows of the table of results, and the table as text."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from kdmri_jax.metrics import Metric
from kdmri_jax.report import paired, wording
from kdmri_jax.report.inputs import Budget
from kdmri_jax.report.tables import Tables

Metrics = Mapping[str, Metric]
_PUBLISHED = ("psnr", "ssim")


def main(metrics: Metrics) -> Metrics:
  """The first two metrics, which the first table shows; the first ranks networks."""
  return dict(list(metrics.items())[:2])


def compared(metrics: Metrics) -> Metrics:
  """The metrics in which paired differences are tested."""
  return main(metrics) | {k: m for k, m in metrics.items() if m.shown == "compared"}


def further(metrics: Metrics) -> Metrics:
  """The metrics of the second table."""
  return {k: m for k, m in list(metrics.items())[2:] if m.shown != "stored"}


def listed(metrics: Metrics) -> Metrics:
  """The metrics of both tables."""
  return main(metrics) | further(metrics)


def summary_rows(
  tables: Tables,
  protocol: str,
  parameters: Mapping[str, int],
  *,
  budgets: Mapping[str, Budget] | None = None,
  published: Mapping[str, tuple[float, ...]] | None = None,
  slices: bool = False,
  once: Collection[str] = (),
) -> list[dict]:
  """The content of the table, one row per model.

  Args:
    tables: the measured values.
    protocol: protocol of the records.
    parameters: number of parameters of the models, where known.
    budgets: training cost of the models' weights, where known.
    published: published (PSNR in dB, SSIM) of models, or PSNR alone.
    slices: summarises the values of slices in the place of those of volumes.
    once: the models that are one training, the same for all seeds.

  Returns:
    Rows {"model", "parameters", "steps", "minutes", "given", "once", "n_seeds",
    "published": {"psnr", "ssim"}, metric: {"mean", "sd", "sd_over_seeds", "n",
    "left_out"}, ...}; unknown values are None.
  """
  records = tables.slices if slices else tables.volumes
  rows = paired.summary(records, protocol, tables.metrics, slices=slices, once=once)
  for row in rows:
    budget = (budgets or {}).get(row["model"], Budget(0, None, None))
    numbers = (published or {}).get(row["model"])
    row |= {
      "parameters": parameters.get(row["model"]),
      "steps": budget.steps,
      "minutes": budget.minutes,
      "given": budget.given,
      "once": row["model"] in once,
      "published": dict(zip(_PUBLISHED, numbers, strict=False)) if numbers else None,
    }
  return rows


def means(rows: Sequence[dict], metrics: Metrics) -> dict[str, dict[str, float | None]]:
  """The means alone: row -> metric, such as "PSNR in dB" -> mean.

  Args:
    rows: from `summary_rows`.
    metrics: the measured metrics.
  """
  units = {name: f" in {m.unit}" if m.unit else "" for name, m in metrics.items()}
  return {
    row["model"]: {f"{m.title}{units[k]}": row[k]["mean"] for k, m in metrics.items()}
    for row in rows
  }


def shown(analysis: dict) -> tuple[list[dict], str]:
  """The rows of the first table, and the unit of their means: the compared one.

  Args:
    analysis: from `analysis.analyse`.
  """
  if analysis["slice_rows"]:
    return analysis["slice_rows"], "slice"
  return analysis["rows"], "volume"


def cells(
  rows: Sequence[dict],
  labels: Mapping[str, str],
  metrics: Metrics,
  unit: str = "volume",
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
  """The table as text, without columns that have no values.

  Args:
    rows: from `summary_rows`.
    labels: metric -> title of its column, in the order of the columns.
    metrics: all metrics by name.
    unit: what the means are over, "volume" or "slice".

  Returns:
    The header, and the cells of each row; the first column is the model.
  """
  columns = {"model": [row["model"] for row in rows]}
  if any(row["parameters"] is not None for row in rows):
    columns["parameters"] = [_count(row, "parameters") for row in rows]
  if any(row["steps"] is not None or row["given"] for row in rows):
    columns["steps"] = [_count(row, "steps") for row in rows]
    columns["minutes"] = [count(row["minutes"], 1) for row in rows]
  several = any(row["n_seeds"] > 1 for row in rows)
  beside = any(row["published"] for row in rows)
  for name, label in labels.items():
    metric = metrics[name]
    columns[label] = [wording.mean_sd(row[name], metric) for row in rows]
    if several and name in main(metrics):
      columns[f"{metric.title} sd over seeds"] = [
        wording.number(row[name]["sd_over_seeds"], metric) for row in rows
      ]
    if beside and name in _PUBLISHED:
      columns[f"published {metric.title}"] = [
        wording.number((row["published"] or {}).get(name), metric) for row in rows
      ]
  columns[f"{unit}s"] = [str(_measured(row[next(iter(metrics))])) for row in rows]
  if several:
    columns["seeds"] = [
      str(row["n_seeds"]) if row["parameters"] and not row["once"] else wording.ABSENT
      for row in rows
    ]
  return tuple(columns), list(zip(*columns.values(), strict=True))


def format_table(rows: Sequence[dict], metrics: Metrics, unit: str = "volume") -> str:
  """The comparison as plain text, mean ± sd over volumes, or over slices.

  Args:
    rows: from `summary_rows`.
    metrics: the measured metrics; the compared ones are shown.
    unit: see `cells`.
  """
  labels = {name: metric.label for name, metric in compared(metrics).items()}
  header, body = cells(rows, labels, metrics, unit)
  return text_table(header, body)


def text_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
  """A table as plain text: the first column to the left, the others to the right."""
  widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
  lines = [header, tuple("-" * width for width in widths), *body]
  return "\n".join(
    "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
    for line in lines
  )


def summary_records(rows: Iterable[dict], metrics: Iterable[str]) -> list[dict]:
  """The rows for a CSV file: one record per model and metric.

  Args:
    rows: from `summary_rows`.
    metrics: their names.

  Returns:
    Records {"model", "metric", "mean", "sd", "sd over seeds", "volumes", "left out",
    "seeds"}, the standard deviations as in `paired.summary`. "volumes" have been
    measured, as in the table; "left out" of them count in no mean.
  """
  return [
    {
      "model": row["model"],
      "metric": name,
      "mean": row[name]["mean"],
      "sd": row[name]["sd"],
      "sd over seeds": row[name]["sd_over_seeds"],
      "volumes": _measured(row[name]),
      "left out": row[name]["left_out"],
      "seeds": row["n_seeds"],
    }
    for row in rows
    for name in metrics
  ]


def ranked(rows: Iterable[dict], names: Iterable[str], metrics: Metrics) -> list[str]:
  """The names with a mean of the first metric, the best first."""
  first = next(iter(metrics))
  means = {row["model"]: row[first]["mean"] for row in rows}
  found = [name for name in dict.fromkeys(names) if means.get(name) is not None]
  return sorted(found, key=means.get, reverse=metrics[first].higher_is_better)


def count(number: float | None, decimals: int = 0) -> str:
  """A number with thousands separated; a dash for None."""
  return wording.ABSENT if number is None else f"{number:,.{decimals}f}"


def _measured(moments: dict) -> int:
  """Number of measured volumes or slices, including those that the mean omits."""
  return moments["n"] + moments["left_out"]


def _count(row: dict, name: str) -> str:
  unknown = row[name] is None
  return "given" if unknown and row["given"] else count(row[name])
