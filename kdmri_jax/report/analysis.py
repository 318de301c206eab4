"""From measurements to the content of the report: numbers, sentences, cautions."""

from typing import Any

from kdmri_jax.protocols import PROTOCOLS
from kdmri_jax.report import gradient_audit, paired, signal, speed, wording
from kdmri_jax.report.cautions import cautions
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import compared, count, main, ranked, summary_rows


def analyse(inputs: ReportInput) -> dict[str, Any]:
  """The content of report.json.

  Returns:
    A dict with title, protocol, protocol_definition, dataset, evaluated_on, mask; rows:
    see `rows.summary_rows`; paired: results of `report.paired` with "sentence", for
    every distilled model against the control, the student and the teacher, and for
    teacher-student, where both have values and share a seed, each for the compared
    metrics; further: the same for `inputs.pairs`, in the first metric; answer and
    cautions: lists of sentences; networks: names of all rows and stages; leading: the
    distilled model with the best mean of the first metric, or None; baseline: the
    reference of its gain, the control or without one the student, or None; best: of the
    networks smaller than the teacher the best one in the first metric, or None; audit:
    see `audits.summarise`; snr: see `signal.summary`; timing: see `speed.summary`;
    control; published_source; seconds; kept_epochs (stage -> a list, the epoch for each
    seed); bootstrap, seed, seeds, config, environment.
  """
  rows = summary_rows(
    inputs.tables,
    inputs.protocol,
    inputs.parameters,
    budgets=inputs.budgets,
    published=inputs.published,
  )
  metrics = inputs.tables.metrics
  pairs = _compare(inputs, rows, _wanted(inputs), compared(metrics))
  further = _compare(inputs, rows, inputs.pairs, list(metrics)[:1])
  order = ranked(rows, inputs.distilled, metrics)
  audit = gradient_audit.summarise(inputs.audits)
  return {
    "title": inputs.title,
    "protocol": inputs.protocol,
    "protocol_definition": PROTOCOLS[inputs.protocol].definition,
    "answer": _answer(inputs, rows, pairs, order),
    "cautions": cautions(inputs, rows, [*pairs, *further], audit),
    "dataset": inputs.dataset,
    "evaluated_on": inputs.evaluated_on,
    "mask": inputs.mask,
    "rows": rows,
    "control": inputs.control,
    "published_source": inputs.published_source,
    "networks": list(
      dict.fromkeys([*(row["model"] for row in rows), *inputs.histories])
    ),
    "leading": order[0] if order else None,
    "baseline": _baseline(inputs, pairs, order[0]) if order else None,
    "best": _best(inputs, rows),
    "paired": pairs,
    "further": further,
    "bootstrap": inputs.bootstrap,
    "seed": inputs.seed,
    "seeds": list(inputs.seeds),
    "seconds": inputs.seconds,
    "kept_epochs": {
      name: [_kept(lines) for lines in runs] for name, runs in inputs.histories.items()
    },
    "audit": audit,
    "snr": signal.summary(inputs.snr),
    "timing": speed.summary(inputs.timing, inputs.teacher),
    "environment": inputs.environment,
    "config": inputs.config,
  }


def _wanted(inputs):
  baselines = (inputs.control, inputs.student, inputs.teacher)
  pairs = [(a, b) for b in baselines for a in inputs.distilled]
  return [*pairs, (inputs.teacher, inputs.student)]


def _compare(inputs, rows, wanted, metrics):
  models = {row["model"]: row for row in rows}
  seeds: dict[str, set] = {}
  for record in inputs.tables.volumes:
    seeds.setdefault(record["model"], set()).add(record.get("seed"))
  pairs = []
  for a, b in dict.fromkeys(wanted):
    if a == b or not {a, b} <= models.keys() or not seeds[a] & seeds[b]:
      continue
    bounded = b in (inputs.student, inputs.control) and bool(
      seeds.get(inputs.teacher, set()) & seeds[a] & seeds[b]
    )
    for metric in metrics:
      if None in (models[a][metric]["mean"], models[b][metric]["mean"]):
        continue
      pair = paired.paired(
        inputs.tables.records,
        a,
        b,
        metric,
        bootstrap=inputs.bootstrap,
        seed=inputs.seed,
        protocol=inputs.protocol,
        teacher=inputs.teacher if bounded else None,
        group=inputs.unit,
        higher_is_better=inputs.tables.metrics[metric].higher_is_better,
      )
      sentence = wording.sentence(pair, inputs.tables.metrics[metric])
      pairs.append({**pair, "sentence": sentence})
  return pairs


def _answer(inputs, rows, pairs, order):
  found = {(p["a"], p["b"], p["metric"]): p["sentence"] for p in pairs}
  first, *second = main(inputs.tables.metrics)
  keys = []
  for name in order[:1]:
    fair = _baseline(inputs, pairs, name)
    keys += [(name, fair, first), (name, inputs.student, first)]
    keys += [(name, fair, metric) for metric in second]
    keys += [(name, inputs.teacher, first)]
  keys += [(name, _baseline(inputs, pairs, name), first) for name in order[1:]]
  sentences = [found[key] for key in dict.fromkeys(keys) if key in found]
  if not sentences:
    sentences = [p["sentence"] for p in pairs if p["metric"] == first]
  if not sentences:
    names = ", ".join(row["model"] for row in rows)
    sentences = [f"Measured so far: {names}. No two networks can be compared yet."]
  large = inputs.parameters.get(inputs.teacher)
  small = inputs.parameters.get(order[0]) if order else None
  if large and small:
    sentences.append(
      f"{order[0]} has {count(small)} parameters, "
      f"{wording.percent(small / large)} of {inputs.teacher}'s {count(large)}."
    )
  return sentences


def _baseline(inputs, pairs, name):
  """The baseline of a distilled network's gain."""
  compared = {pair["b"] for pair in pairs if pair["a"] == name}
  found = [b for b in (inputs.control, inputs.student) if b in compared]
  return found[0] if found else None


def _best(inputs, rows):
  large = inputs.parameters.get(inputs.teacher, 0)
  small = [
    row["model"]
    for row in rows
    if row["parameters"] is not None and row["parameters"] < large
  ]
  order = ranked(rows, small, inputs.tables.metrics)
  return order[0] if len(order) > 1 else None


def _kept(lines):
  """The epoch whose weights were kept."""
  return max((x["epoch"] for x in lines if x.get("best")), default=None)
