"""Does distillation cost stability? The report's part on shifted conditions."""

from collections.abc import Mapping, Sequence
from typing import Any

from kdmri_jax.config.schema import ZERO_FILLED
from kdmri_jax.metrics import Metric
from kdmri_jax.report import blocks, paired, wording
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.parts import ROBUSTNESS
from kdmri_jax.report.rows import main
from kdmri_jax.report.tables import Tables

OWN = "as in this run"
_MOST_NETWORKS = 6  # in the tables; the files hold all


def summary(
  inputs: ReportInput, leading: str | None, baseline: str | None
) -> dict[str, Any] | None:
  """The table as values: a row per condition, the first one that of the run.

  Args:
    inputs: the inputs of the report.
    leading: the distilled network that is compared, or None.
    baseline: the reference of its gain, or None.

  Returns:
    None without any condition, else "networks" (the columns), "pairs" (those compared,
    lists [a, b]), "sentences", and "rows": each with "condition", "means" (metric ->
    network -> mean over volumes and seeds), "paired" (results of `report.paired` of
    the pairs in each metric) and "changes" (the same for the differences of the values
    from those under the run's own conditions, on the same images); "unit" is that of
    the volumes.
  """
  if not inputs.robustness:
    return None
  metrics = main(inputs.tables.metrics)
  found = {OWN: inputs.tables, **inputs.robustness}
  measured = [{record["model"] for record in each.volumes} for each in found.values()]
  every = [name for name in _order(inputs, leading) if any(name in m for m in measured)]
  pairs = [[leading, b] for b in (baseline, inputs.roles.teacher) if leading and b]
  rows = []
  for (condition, each), names in zip(found.items(), measured, strict=True):
    own = [pair for pair in pairs if names >= set(pair)]
    unit = each.source["unit"] if each.source else inputs.unit
    means = paired.summary(each.volumes, inputs.roles.protocol, metrics)
    alike = condition != OWN and not each.source
    changes = _changes(each, inputs.tables, metrics) if alike else []
    rows.append(
      {
        "condition": condition,
        "unit": unit,
        "means": {m: {row["model"]: row[m]["mean"] for row in means} for m in metrics},
        "paired": _compared(inputs, (condition, unit), each.records, own, metrics),
        "changes": _compared(inputs, (condition, unit), changes, own, metrics),
      }
    )
  sentences = [text for a, b in pairs for text in _sentences(rows, a, b, metrics)]
  return {"networks": every, "pairs": pairs, "rows": rows, "sentences": sentences}


def _order(inputs: ReportInput, leading: str | None) -> list[str]:
  """The networks of the tables, those that are compared first where there are many."""
  roles = inputs.roles
  every = list(dict.fromkeys(record["model"] for record in inputs.tables.volumes))
  first = [ZERO_FILLED, roles.teacher, roles.student, roles.control, leading]
  chosen = [*dict.fromkeys([name for name in [*first, *every] if name in every])]
  return [name for name in every if name in chosen[:_MOST_NETWORKS]]


def _changes(shifted: Tables, own: Tables, metrics: Mapping[str, Metric]) -> list[dict]:
  """Records of the values under a condition minus those of the same images as they are.

  Images that were not measured without the condition have none.
  """

  def image(record):
    keys = ("model", "seed", "volume", "subject", "slice", "protocol")
    return tuple(record.get(key) for key in keys)

  before = {image(record): record for record in own.records}
  return [
    {**record, **{m: record[m] - before[image(record)][m] for m in metrics}}
    for record in shifted.records
    if image(record) in before
  ]


def _compared(inputs, where, records, pairs, metrics) -> list[dict]:
  """The results of all pairs; those that fail are told to the report.

  `where`: the condition, and the unit of its volumes.
  """
  condition, unit = where

  def compared(a, b, name, metric):
    return paired.paired(
      records,
      a,
      b,
      name,
      protocol=inputs.roles.protocol,
      group=unit,
      higher_is_better=metric.higher_is_better,
      once=inputs.once,
    )

  found = [
    inputs.parts.make(
      *(ROBUSTNESS, f"the comparison of {a} and {b} in {metric.title}"),
      *(compared, a, b, name, metric),
      otherwise=None,
      where=condition,
    )
    for a, b in pairs
    for name, metric in metrics.items()
    if records
  ]
  return [pair for pair in found if pair]


def _sentences(rows, a, b, metrics) -> list[str]:
  """Where the difference of two networks changes, in the first metric."""
  name, metric = next(iter(metrics.items()))
  changes: dict[str, list[str]] = {}
  others, over = [], ""
  for row in rows[1:]:
    change, pair = (_of(row[kind], (a, b), name) for kind in ("changes", "paired"))
    if change:
      changes.setdefault(change["verdict"], []).append(row["condition"])
      over = wording.units(change)
    elif pair:
      others.append(f"{row['condition']}: {wording.sentence(pair, metric)}")
  difference = f"the {metric.title} difference {a} {wording.MINUS} {b}"
  texts = {
    "worse": f"{difference} is less favourable to {a} than without the shift",
    "better": f"{difference} is more favourable to {a} than without the shift",
    "undecided": f"no change of {difference} can be claimed",
    "too_few": f"a change of {difference} cannot be judged by so few units",
  }
  found = [
    f"Under {', '.join(changes[verdict])}: {text} ({over})."
    for verdict, text in texts.items()
    if verdict in changes
  ]
  return [*found, *others]


def blocks_of(found: dict | None, inputs: ReportInput) -> list:
  """Sentences and tables from `summary`; nothing without any condition."""
  if not found:
    return []
  metrics = main(inputs.tables.metrics)
  made: list = [blocks.Paragraph(text) for text in found["sentences"]]
  for name, metric in metrics.items():
    columns = {"condition": [row["condition"] for row in found["rows"]]}
    for network in found["networks"]:
      columns[network] = [
        wording.number(row["means"][name].get(network), metric) for row in found["rows"]
      ]
    for pair in found["pairs"]:
      title = f" {wording.MINUS} ".join(pair)
      for kind, heading in (("paired", title), ("changes", f"change of {title}")):
        columns[heading] = [
          _cell(row[kind], pair, name, metric) for row in found["rows"]
        ]
    cells = list(zip(*columns.values(), strict=True))
    made.append(blocks.Table(tuple(columns), cells, f"{metric.label}."))
  made[-1] = made[-1]._replace(note=f"{made[-1].note} {_note(inputs)}")
  return made


def _cell(pairs: Sequence[dict], pair: Sequence[str], name: str, metric: Metric) -> str:
  found = _of(pairs, pair, name)
  if found is None:
    return wording.ABSENT
  return f"{wording.difference(found, metric)} {wording.interval(found, metric)}"


def _of(pairs: Sequence[dict], pair: Sequence[str], name: str) -> dict | None:
  """The result of a pair in a metric, if there is one."""
  wanted = (*pair, name)
  return next((p for p in pairs if (p["a"], p["b"], p["metric"]) == wanted), None)


def _note(inputs: ReportInput) -> str:
  return (
    f"Means over volumes, protocol {inputs.roles.protocol}. Differences are paired, "
    "with 95% intervals as above, not corrected for the number of conditions. A change "
    f"compares the difference with that in the row '{OWN}', image by image. A "
    "perturbation is of the sampled k-space, with a norm relative to that of the "
    "k-space; the worst one is each network's own, found by gradient ascent, so a "
    "worse one may exist."
  )
