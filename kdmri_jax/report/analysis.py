"""From measurements to the content of the report: numbers, sentences, cautions."""

import itertools
from typing import Any

from kdmri_jax.data.sources import mni152
from kdmri_jax.protocols import PROTOCOLS
from kdmri_jax.report import (
  gradient_audit,
  paired,
  signal,
  sizes,
  speed,
  stability,
  wording,
)
from kdmri_jax.report.cautions import cautions
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.parts import (
  AUDIT,
  CAUTIONS,
  FURTHER,
  PAIRED,
  RESULTS,
  ROBUSTNESS,
  SIGNAL,
  SIZES,
  TIME,
  TRAINED,
)
from kdmri_jax.report.rows import compared, count, main, ranked, summary_rows

# Copied to report.json as they are.
_FROM_INPUT = ("title", "dataset", "evaluated_on", "mask", "seeds", "seconds")
_FROM_INPUT += ("environment", "config")
_ONE_HEAD = (
  "One head, cut into slabs, cannot show how the networks do on other heads: what "
  "follows shows that everything works, not which network is better."
)
_FROM_ROLES = ("protocol", "control", "published_source", "margin")


def analyse(inputs: ReportInput) -> dict[str, Any]:
  """The content of report.json, but for the parts that failed.

  An entry that fails is told to `inputs.parts` and empty here.

  Returns:
    A dict with title, protocol, protocol_definition, dataset, evaluated_on, mask;
    rows: see `rows.summary_rows`; slice_rows: the same over slices where those are
    compared, because there are few subjects, else none; paired: results of
    `report.paired` with "sentence", for every distilled model against the control,
    the student and the teacher, and for teacher-student, where both have values and
    share a seed, each for the compared metrics; further: the same for
    `inputs.roles.pairs`, in the first metric; answer and cautions: lists of
    sentences; networks: names of all rows and stages; leading: the distilled model
    with the best mean of the first metric, or None; baseline: the reference of its
    gain, the control or without one the student, or None; best: of the networks
    smaller than the teacher the best one in the first metric, or None; audit: see
    `gradient_audit.summarise`; snr: see `signal.summary`; timing: see
    `speed.summary`; robustness: see `stability.summary`; sizes: see
    `sizes.summary`; control; margin; published_source; seconds; kept_epochs (stage
    -> a list, the epoch for each seed); seeds, config,
    environment.
  """
  roles, metrics, make = inputs.roles, inputs.tables.metrics, inputs.parts.make
  rows = make(RESULTS, "the table of results", _rows, inputs, otherwise=[])
  pairs = _compare(inputs, rows, PAIRED, _wanted(roles), compared(metrics))
  further = _compare(inputs, rows, FURTHER, roles.pairs, list(metrics)[:1])
  by_slice = any(pair["unit"] != pair["group"] for pair in [*pairs, *further])
  of_slices = []
  if by_slice:
    name = "the means over slices"
    of_slices = make(RESULTS, name, _rows, inputs, True, otherwise=[])
  order = ranked(of_slices or rows, roles.distilled, metrics)
  leading = order[0] if order else None
  baseline = _baseline(roles, pairs, leading) if leading else None
  every = [*pairs, *further]
  robustness = make(
    *(ROBUSTNESS, "the table", stability.summary, inputs, leading, baseline),
    otherwise=None,
  )
  audit = make(
    AUDIT, "the audit", gradient_audit.summarise, inputs.audits, otherwise=[]
  )
  timing = make(
    *(TIME, "the table", speed.summary, inputs.timing, roles.teacher),
    roles.published_seconds,
    otherwise=[],
  )
  known = rows, inputs.multiplications, timing, metrics
  networks = [*(row["model"] for row in rows), *inputs.histories]
  return {
    **{name: getattr(inputs, name) for name in _FROM_INPUT},
    **{name: getattr(roles, name) for name in _FROM_ROLES},
    "protocol_definition": PROTOCOLS[roles.protocol].definition,
    "answer": make(
      *(RESULTS, "the answer", _answer, inputs, rows, pairs, order), otherwise=[]
    ),
    "cautions": make(
      *(CAUTIONS, "the list of cautions", cautions),
      *(inputs, rows, every, audit, robustness),
      otherwise=[],
    ),
    "rows": rows,
    "slice_rows": of_slices,
    "networks": list(dict.fromkeys(networks)),
    "leading": leading,
    "baseline": baseline,
    "best": _best(inputs, of_slices or rows),
    "paired": pairs,
    "further": further,
    "robustness": robustness,
    "kept_epochs": make(
      TRAINED, "the epochs of the weights", _kept_epochs, inputs.histories, otherwise={}
    ),
    "audit": audit,
    "snr": make(SIGNAL, "the table", signal.summary, inputs.snr, otherwise=None),
    "timing": timing,
    "sizes": make(SIZES, "the table", sizes.summary, *known, otherwise=[]),
  }


def _rows(inputs, slices=False):
  return summary_rows(
    inputs.tables,
    inputs.roles.protocol,
    inputs.parameters,
    budgets=inputs.budgets,
    published={} if slices else inputs.roles.published,
    slices=slices,
    once=inputs.once,
  )


def _wanted(roles):
  baselines = (roles.control, roles.student, roles.teacher)
  pairs = [(a, b) for b in baselines for a in roles.distilled]
  return [*pairs, (roles.teacher, roles.student)]


def _compare(inputs, rows, section, wanted, metrics):
  roles, means = inputs.roles, {row["model"]: row for row in rows}
  seeds: dict[str, set] = {roles.teacher: set()}
  for record in inputs.tables.volumes:
    seeds.setdefault(record["model"], set()).add(record.get("seed"))
  pairs = []
  for (a, b), name in itertools.product(dict.fromkeys(wanted), metrics):
    if a == b or not {a, b} <= means.keys() or not seeds[a] & seeds[b]:
      continue
    if None in (means[a][name]["mean"], means[b][name]["mean"]):
      continue
    bounded = b in (roles.student, roles.control)
    bounded = bounded and seeds[a] & seeds[b] & seeds[roles.teacher]
    part = f"the comparison of {a} and {b} in {inputs.tables.metrics[name].title}"
    teacher = roles.teacher if bounded else None
    pairs.append(
      inputs.parts.make(section, part, _pair, inputs, a, b, name, teacher, otherwise={})
    )
  return list(filter(None, pairs))


def _pair(inputs, a, b, name, teacher):
  roles, metric = inputs.roles, inputs.tables.metrics[name]
  tested = name == "psnr" and roles.teacher in (a, b) and roles.margin
  pair = paired.paired(
    inputs.tables.records,
    a,
    b,
    name,
    protocol=roles.protocol,
    teacher=teacher,
    group=inputs.unit,
    higher_is_better=metric.higher_is_better,
    margin=tested or None,
    once=inputs.once,
  )
  sentence = " ".join(
    filter(None, (wording.sentence(pair, metric), wording.equivalence(pair, metric)))
  )
  return {**pair, "sentence": sentence}


def _answer(inputs, rows, pairs, order):
  if not rows:
    return []
  roles = inputs.roles
  found = {(p["a"], p["b"], p["metric"]): p["sentence"] for p in pairs}
  first, *second = main(inputs.tables.metrics)
  keys = []
  for name in order[:1]:
    fair = _baseline(roles, pairs, name)
    keys += [(name, fair, first), (name, roles.student, first)]
    keys += [(name, fair, metric) for metric in second]
    keys += [(name, roles.teacher, first)]
  keys += [(name, _baseline(roles, pairs, name), first) for name in order[1:]]
  sentences = [found[key] for key in dict.fromkeys(keys) if key in found]
  if not sentences:
    sentences = [p["sentence"] for p in pairs if p["metric"] == first]
  if not sentences:
    names = ", ".join(row["model"] for row in rows)
    sentences = [f"Measured so far: {names}. No two networks can be compared yet."]
  large, small = map(inputs.parameters.get, (roles.teacher, next(iter(order), None)))
  if large and small:
    sentences.append(
      f"{order[0]} has {count(small)} parameters, "
      f"{wording.percent(small / large)} of {roles.teacher}'s {count(large)}."
    )
  return [_ONE_HEAD, *sentences] if inputs.unit == mni152.UNIT else sentences


def _baseline(roles, pairs, name):
  """The baseline of a distilled network's gain."""
  compared = {pair["b"] for pair in pairs if pair["a"] == name}
  found = [b for b in (roles.control, roles.student) if b in compared]
  return found[0] if found else None


def _best(inputs, rows):
  large = inputs.parameters.get(inputs.roles.teacher, 0)
  small = [
    row["model"]
    for row in rows
    if row["parameters"] is not None and row["parameters"] < large
  ]
  order = ranked(rows, small, inputs.tables.metrics)
  return order[0] if len(order) > 1 else None


def _kept_epochs(histories):
  """Stage -> for each seed the epoch whose weights were kept."""
  return {
    name: [
      max((x["epoch"] for x in lines if x.get("best")), default=None) for lines in runs
    ]
    for name, runs in histories.items()
  }
