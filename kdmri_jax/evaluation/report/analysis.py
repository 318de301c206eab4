"""From what was measured to what the report says: numbers, sentences, cautions."""

from typing import Any

from kdmri_jax.evaluation import audits, statistics, wording
from kdmri_jax.evaluation.metrics import PROTOCOLS
from kdmri_jax.evaluation.report.cautions import cautions
from kdmri_jax.evaluation.report.inputs import ReportInput
from kdmri_jax.evaluation.report.rows import by_psnr, count, summary_rows

PAIRED_METRICS = ("psnr", "ssim", "nmse")


def analyse(inputs: ReportInput) -> dict[str, Any]:
  """The content of report.json.

  Returns:
    A dict with title, protocol, protocol_definition, dataset, evaluated_on, mask;
    rows: see `rows.summary_rows`; paired: results of `statistics.paired` with
    "sentence", for every distilled model against the student, the control and the
    teacher, and for teacher-student, where both have values and share a seed, each
    for `PAIRED_METRICS`; answer and cautions: lists of sentences; networks: names of
    all rows and stages; leading: the distilled model with the highest PSNR, or None;
    best: the small network with the highest PSNR, or None; audit: see
    `audits.summarise`; control; published_source; seconds; kept_epochs (stage -> a
    list, the epoch for each seed); bootstrap, seed, seeds, config, environment.
  """
  rows = summary_rows(
    inputs.tables.volumes,
    inputs.protocol,
    inputs.parameters,
    budgets=inputs.budgets,
    published=inputs.published,
  )
  pairs = _pairs(inputs, rows)
  ranked = by_psnr(rows, inputs.distilled)
  audit = audits.summarise(inputs.audits)
  return {
    "title": inputs.title,
    "protocol": inputs.protocol,
    "protocol_definition": PROTOCOLS[inputs.protocol],
    "answer": _answer(inputs, rows, pairs, ranked),
    "cautions": cautions(inputs, rows, pairs, audit),
    "dataset": inputs.dataset,
    "evaluated_on": inputs.evaluated_on,
    "mask": inputs.mask,
    "rows": rows,
    "control": inputs.control,
    "published_source": inputs.published_source,
    "networks": list(
      dict.fromkeys([*(row["model"] for row in rows), *inputs.histories])
    ),
    "leading": ranked[0] if ranked else None,
    "best": _best(inputs, rows),
    "paired": pairs,
    "bootstrap": inputs.bootstrap,
    "seed": inputs.seed,
    "seeds": list(inputs.seeds),
    "seconds": inputs.seconds,
    "kept_epochs": {
      name: [_kept(lines) for lines in runs] for name, runs in inputs.histories.items()
    },
    "audit": audit,
    "environment": inputs.environment,
    "config": inputs.config,
  }


def _pairs(inputs, rows):
  models = {row["model"]: row for row in rows}
  seeds: dict[str, set] = {}
  for record in inputs.tables.volumes:
    seeds.setdefault(record["model"], set()).add(record.get("seed"))
  roles = {"teacher": inputs.teacher, "student": inputs.student}
  baselines = (inputs.student, inputs.control, inputs.teacher)
  wanted = [(a, b) for b in baselines for a in inputs.distilled]
  pairs = []
  for a, b in dict.fromkeys([*wanted, (inputs.teacher, inputs.student)]):
    if a == b or not {a, b} <= models.keys() or not seeds[a] & seeds[b]:
      continue
    gap = b == inputs.student and bool(
      seeds.get(inputs.teacher, set()) & seeds[a] & seeds[b]
    )
    for metric in PAIRED_METRICS:
      if None in (models[a][metric]["mean"], models[b][metric]["mean"]):
        continue
      pair = statistics.paired(
        inputs.tables.records,
        a,
        b,
        metric,
        bootstrap=inputs.bootstrap,
        seed=inputs.seed,
        protocol=inputs.protocol,
        **(roles if gap else {}),
      )
      pairs.append({**pair, "sentence": wording.sentence(pair)})
  return pairs


def _answer(inputs, rows, pairs, ranked):
  found = {(p["a"], p["b"], p["metric"]): p["sentence"] for p in pairs}
  keys = []
  for name in ranked[:1]:
    keys += [(name, inputs.student, "psnr"), (name, inputs.control, "psnr")]
    keys += [(name, inputs.student, "ssim"), (name, inputs.teacher, "psnr")]
  for name in ranked[1:]:
    fair = (name, inputs.control, "psnr")
    keys.append(fair if fair in found else (name, inputs.student, "psnr"))
  sentences = [found[key] for key in keys if key in found]
  if not sentences:
    sentences = [p["sentence"] for p in pairs if p["metric"] == "psnr"]
  if not sentences:
    names = ", ".join(row["model"] for row in rows)
    sentences = [f"Measured so far: {names}. No two networks can be compared yet."]
  large = inputs.parameters.get(inputs.teacher)
  small = inputs.parameters.get(ranked[0]) if ranked else None
  if large and small:
    sentences.append(
      f"{ranked[0]} has {count(small)} parameters, "
      f"{wording.percent(small / large)} of {inputs.teacher}'s {count(large)}."
    )
  return sentences


def _best(inputs, rows):
  small = [
    row
    for row in rows
    if row["model"] != inputs.teacher
    and row["parameters"] is not None
    and row["psnr"]["mean"] is not None
  ]
  best = max(small, key=lambda row: row["psnr"]["mean"], default=None)
  return best["model"] if len(small) > 1 else None


def _kept(lines):
  """The epoch whose weights were kept."""
  return max((x["epoch"] for x in lines if x.get("best")), default=None)
