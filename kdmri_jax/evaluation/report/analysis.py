"""From what was measured to what the report says: numbers, sentences, cautions."""

import dataclasses
from typing import Any

import numpy as np

from kdmri_jax.evaluation import statistics, wording
from kdmri_jax.evaluation.metrics import PROTOCOLS
from kdmri_jax.evaluation.tables import Tables

PAIRED_METRICS = ("psnr", "ssim", "nmse")
SIMULATED = (
  "Images that were finished before k-space was simulated from them make every method "
  "look better than raw measurements do (Shimron et al., PNAS 2022). Compare the "
  "models with each other, not with results on raw k-space."
)
SELECTED = (
  "The validation subjects also chose the weights that were kept, which favours every "
  "network a little; name held-back subjects in data.test to avoid it."
)
ONE_SEED = (
  "One training run with one seed: the intervals cover the choice of subjects, not "
  "what another initialisation or data order would change."
)


@dataclasses.dataclass(frozen=True)
class ReportInput:
  """Everything that a report is made of.

  Models may be missing (an experiment of which only a part was trained); the report
  then says what there is.

  Attributes:
    title: name of the experiment.
    protocol: key of `metrics.PROTOCOLS`; the one that the tables show.
    tables: metrics of all models under all protocols.
    dataset: record of the data: source, subjects of each split, scaling, crop;
      "simulated_kspace" is False only where the scanner's own k-space was used, and
      "notes" (a list of sentences) join the cautions.
    evaluated_on: split that was evaluated, "test" or "validation".
    mask: description of the mask.
    parameters: number of parameters of each network.
    teacher: model that bounds the gap from above.
    student: the unassisted student.
    distilled: model whose gain is asked for.
    bootstrap: number of resamples.
    seed: seed of the resampling.
    config: the whole resolved configuration.
    environment: versions and devices.
    histories: stage -> lines of its metrics.jsonl.
    seconds: stage -> training time.
    epochs: stage -> epochs its weights have been trained for, those of the stages it
      started from included.
    mask_image: mask [H, W], zero frequency at [0, 0]; None leaves the picture out.
    comparison_images: name -> image [H, W] for `figures.comparison`, or None.
    comparison_range: range of their PSNR and SSIM; None takes the target's maximum.
    attention: name -> maps [K, H, W], the teacher's first, or None.
  """

  title: str
  protocol: str
  tables: Tables
  dataset: dict[str, Any]
  evaluated_on: str
  mask: dict[str, Any]
  parameters: dict[str, int]
  teacher: str
  student: str
  distilled: str
  bootstrap: int
  seed: int
  config: dict[str, Any]
  environment: dict[str, Any]
  histories: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
  seconds: dict[str, float] = dataclasses.field(default_factory=dict)
  epochs: dict[str, int] = dataclasses.field(default_factory=dict)
  mask_image: np.ndarray | None = None
  comparison_images: dict[str, np.ndarray] | None = None
  comparison_range: float | None = None
  attention: dict[str, np.ndarray] | None = None


def analyse(inputs: ReportInput) -> dict[str, Any]:
  """The content of report.json.

  Returns:
    A dict with title, protocol, protocol_definition, dataset, evaluated_on, mask;
    rows: {"model", "parameters" (None where unknown), and for each metric {"mean",
    "sd", "n", "left_out"}}; paired: results of `statistics.paired` with "sentence",
    for distilled-student, distilled-teacher and teacher-student where both have
    values, each for `PAIRED_METRICS`; answer and cautions: lists of sentences;
    best: the small network with the highest PSNR, or None; seconds, kept_epochs,
    bootstrap, seed, config, environment.
  """
  rows = summary_rows(inputs.tables.volumes, inputs.protocol, inputs.parameters)
  pairs = _pairs(inputs, rows)
  return {
    "title": inputs.title,
    "protocol": inputs.protocol,
    "protocol_definition": PROTOCOLS[inputs.protocol],
    "answer": _answer(inputs, rows, pairs),
    "cautions": _cautions(inputs, pairs),
    "dataset": inputs.dataset,
    "evaluated_on": inputs.evaluated_on,
    "mask": inputs.mask,
    "rows": rows,
    "best": _best(inputs, rows),
    "paired": pairs,
    "bootstrap": inputs.bootstrap,
    "seed": inputs.seed,
    "seconds": inputs.seconds,
    "kept_epochs": {name: _kept(lines) for name, lines in inputs.histories.items()},
    "environment": inputs.environment,
    "config": inputs.config,
  }


def format_table(rows: list[dict]) -> str:
  """The comparison as plain text, mean ± sd over volumes.

  Args:
    rows: "rows" of `analyse`; the column of parameters is left out where all are
      unknown.
  """
  counted = any(row["parameters"] is not None for row in rows)
  lines = [("model", *["parameters"] * counted, "PSNR, dB", "SSIM", "NMSE", "volumes")]
  lines += [
    (
      row["model"],
      *[count(row["parameters"])] * counted,
      *(wording.mean_sd(row[name], name) for name in PAIRED_METRICS),
      str(row["psnr"]["n"] + row["psnr"]["left_out"]),
    )
    for row in rows
  ]
  widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
  lines.insert(1, tuple("-" * width for width in widths))
  return "\n".join(
    "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
    for line in lines
  )


def summary_rows(records: list[dict], protocol: str, parameters: dict) -> list[dict]:
  """Rows {"model", "parameters", metric: {"mean", "sd", "n", "left_out"}, ...}."""
  return [
    {
      "model": row["model"],
      "parameters": parameters.get(row["model"]),
      **row["metrics"],
    }
    for row in statistics.summary(records, protocol)
  ]


def count(number: int | None) -> str:
  """A number with thousands separated; a dash for None."""
  return wording.ABSENT if number is None else f"{number:,}"


def _pairs(inputs, rows):
  models = {row["model"]: row for row in rows}
  roles = {"teacher": inputs.teacher, "student": inputs.student}
  wanted = [
    (inputs.distilled, inputs.student),
    (inputs.distilled, inputs.teacher),
    (inputs.teacher, inputs.student),
  ]
  pairs = []
  for a, b in dict.fromkeys(wanted):
    for metric in PAIRED_METRICS if {a, b} <= models.keys() and a != b else ():
      if None in (models[a][metric]["mean"], models[b][metric]["mean"]):
        continue
      known = roles if inputs.teacher in models else {}
      pair = statistics.paired(
        inputs.tables.records,
        a,
        b,
        metric,
        bootstrap=inputs.bootstrap,
        seed=inputs.seed,
        protocol=inputs.protocol,
        **known,
      )
      pairs.append({**pair, "sentence": wording.sentence(pair)})
  return pairs


def _answer(inputs, rows, pairs):
  found = {(p["a"], p["b"], p["metric"]): p["sentence"] for p in pairs}
  keys = [
    (inputs.distilled, inputs.student, "psnr"),
    (inputs.distilled, inputs.student, "ssim"),
    (inputs.distilled, inputs.teacher, "psnr"),
  ]
  sentences = [found[key] for key in keys if key in found]
  if not sentences:
    sentences = [p["sentence"] for p in pairs if p["metric"] == "psnr"]
  if not sentences:
    names = ", ".join(row["model"] for row in rows)
    sentences = [f"Measured so far: {names}. No two networks can be compared yet."]
  large = inputs.parameters.get(inputs.teacher)
  small = inputs.parameters.get(inputs.distilled)
  if large and small:
    sentences.append(
      f"{inputs.distilled} has {count(small)} parameters, "
      f"{wording.percent(small / large)} of {inputs.teacher}'s {count(large)}."
    )
  return sentences


def _cautions(inputs, pairs):
  cautions = [p["caution"] for p in pairs if p["caution"]]
  cautions += inputs.dataset.get("notes", [])
  if simulated(inputs.dataset):
    cautions.append(SIMULATED)
  if inputs.evaluated_on == "validation":
    cautions.append(SELECTED)
  cautions.append(ONE_SEED)
  cautions += _unequal_training(inputs, pairs)
  volumes = [r for r in inputs.tables.volumes if r["protocol"] == inputs.protocol]
  empty = {r["volume"]: r["empty_slices"] for r in volumes if r["empty_slices"]}
  if empty:
    what = "left out" if inputs.protocol == "slice" else "kept in the volumes' values"
    cautions.append(
      f"{sum(empty.values())} slices of {len(empty)} volumes have no signal; {what}."
    )
  return list(dict.fromkeys(cautions))


def _unequal_training(inputs, pairs):
  """What a gain of distillation is also owed to: a longer training."""
  compared = any((p["a"], p["b"]) == (inputs.distilled, inputs.student) for p in pairs)
  more, less = (inputs.epochs.get(n, 0) for n in (inputs.distilled, inputs.student))
  if not compared or more <= less:
    return []
  return [
    f"The weights of {inputs.distilled} have been trained for {more} epochs in all, "
    f"those of {inputs.student} for {less}. Train {inputs.student} as long "
    f"(--config.stages.{inputs.student}.epochs={more}) before calling the whole "
    "difference a gain of distillation."
  ]


def simulated(dataset: dict[str, Any]) -> bool:
  """Whether k-space was simulated; only an explicit False says that it was not."""
  return dataset.get("simulated_kspace", True) is not False


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
