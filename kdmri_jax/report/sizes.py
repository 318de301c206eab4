"""Image quality against size: which networks no smaller one equals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kdmri_jax.metrics import Metric
from kdmri_jax.report import blocks, wording
from kdmri_jax.report.rows import count

FEWEST = 3  # sizes that are worth a picture


class Axis(NamedTuple):
  """A measure of size.

  Attributes:
    title: its name with the unit.
    unit: what a value is divided by.
    decimals: decimals in the table.
  """

  title: str
  unit: float
  decimals: int


AXES = {
  "parameters": Axis("parameters, thousand", 1e3, 1),
  "multiplications": Axis("multiplications per slice, million", 1e6, 1),
  "seconds": Axis("time per slice, ms", 1e-3, 1),
}


def summary(
  rows: Sequence[dict],
  multiplications: Mapping[str, int],
  timing: Sequence[dict],
  metrics: Mapping[str, Metric],
) -> list[dict]:
  """The networks with their sizes and their mean of the first metric.

  Args:
    rows: from `rows.summary_rows`.
    multiplications: of each network for a slice, where known.
    timing: from `speed.summary`.
    metrics: name -> metric.

  Returns:
    Entries {"model", a value or None for each of `AXES`, "quality", "front"}, or none
    for fewer than three different sizes. "front" lists the axes on which no other
    network is as good and as small, and better or smaller.
  """
  (name, metric), seconds = next(iter(metrics.items())), {}
  for row in timing:
    seconds[row["model"]] = row["mean"]
  entries = [
    {
      "model": row["model"],
      "parameters": row["parameters"],
      "multiplications": multiplications.get(row["model"]),
      "seconds": seconds.get(row["model"]),
      "quality": row[name]["mean"],
    }
    for row in rows
    if row["parameters"] is not None and row[name]["mean"] is not None
  ]
  if len({(e["parameters"], e["multiplications"]) for e in entries}) < FEWEST:
    return []
  sign = 1 if metric.higher_is_better else -1
  for entry in entries:
    entry["front"] = [axis for axis in AXES if _on_front(entry, entries, axis, sign)]
  return entries


def _on_front(entry: dict, entries: list[dict], axis: str, sign: int) -> bool:
  """Whether no other network is as good and as small, and better or smaller."""

  def place(each):
    return each[axis], -sign * each["quality"]

  if entry[axis] is None:
    return False
  own = place(entry)
  known = (place(each) for each in entries if each[axis] is not None)
  return not any(o != own and o[0] <= own[0] and o[1] <= own[1] for o in known)


def blocks_of(entries: list[dict], metric: Metric) -> list:
  """Picture and table, from `summary`; nothing where there are too few sizes.

  Args:
    entries: from `summary`.
    metric: the first metric.
  """
  if not entries:
    return []
  axes = {k: a for k, a in AXES.items() if any(e[k] is not None for e in entries)}
  columns = {"model": [entry["model"] for entry in entries]}
  for key, axis in axes.items():
    values = [entry[key] and entry[key] / axis.unit for entry in entries]
    columns[f"{axis.title} ↓"] = [count(value, axis.decimals) for value in values]
  arrow = "↑" if metric.higher_is_better else "↓"
  columns[f"{metric.label} {arrow}"] = [
    wording.number(entry["quality"], metric) for entry in entries
  ]
  columns["not surpassed in"] = [
    ", ".join(AXES[key].title.partition(",")[0] for key in entry["front"])
    or wording.ABSENT
    for entry in entries
  ]
  note = (
    "Multiplications, each with an addition, of convolutions and matrix products; "
    "those of data consistency are left out. A network is not surpassed where no other "
    "one is as good and as small, and better or smaller. These are means: whether "
    "neighbours differ, the paired differences tell."
  )
  caption = (
    f"Mean {metric.title} against size. The line joins the networks that are not "
    "surpassed, which are filled; the others are hollow."
  )
  alt = f"{metric.title} against parameters, multiplications and time."
  cells = list(zip(*columns.values(), strict=True))
  return [
    blocks.Picture("sizes", alt, caption),
    blocks.Table(tuple(columns), cells, note),
  ]
