"""The fields of the CLAIM checklist that a run knows.

CLAIM is the Checklist for Artificial Intelligence in Medical Imaging, 2024 update
(Tejani et al., Radiology: Artificial Intelligence 6(4), 2024, e240300), which has 44
items. They are named here in other and fewer words; the published checklist counts.
"""

import math
from typing import NamedTuple

import kdmri_jax
from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.data.split import counted
from kdmri_jax.report import methods_text, training_text, wording
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.parts import CAUTIONS
from kdmri_jax.report.rows import count, listed

YOURS = "yours to say"
_TARGETS = "no annotators: the targets are images"


class Item(NamedTuple):
  """An item of the checklist.

  Attributes:
    number: its number, 1 to 44.
    topic: what it asks for, in short.
    answer: what this run knows, or `YOURS`.
  """

  number: int
  topic: str
  answer: str


TOPICS = (
  "title: a study of AI, with the kind of technology",
  "abstract: design, methods, results, conclusions",
  "background, intended use and role",
  "aims and hypotheses",
  "prospective or retrospective",
  "goal of the study",
  "sources of the data",
  "who was included and excluded",
  "preprocessing",
  "selection of subsets of the data",
  "de-identification",
  "missing data",
  "acquisition of the images",
  "definition of the reference standard",
  "reason for this reference standard",
  "annotators of the reference standard",
  "annotation of the test set",
  "variability between and within raters",
  "assignment to the partitions",
  "level at which the partitions are disjoint",
  "intended size of the test set",
  "the model in detail",
  "software and its versions",
  "initial weights",
  "training",
  "selection of the final model",
  "ensembles",
  "metrics",
  "significance and uncertainty",
  "robustness or sensitivity",
  "explainability or interpretability",
  "evaluation on internal data",
  "test on external data",
  "registration of a clinical trial",
  "numbers included and excluded",
  "demographic and clinical characteristics",
  "results with their uncertainty",
  "diagnostic performance and its precision",
  "analysis of failures",
  "limitations",
  "implications for practice",
  "full protocol or further details",
  "availability of software, model and data",
  "funding and its role",
)


def items(inputs: ReportInput, analysis: dict) -> list[Item]:
  """All items of the checklist.

  Args:
    inputs: the inputs of the report.
    analysis: from `analysis.analyse`.
  """
  config = config_lib.parse(inputs.config)
  known = {
    **_of_data(inputs, config),
    **_of_networks(inputs, config),
    **_of_evaluation(inputs, analysis),
  }
  return [
    Item(number, topic, known.get(number) or YOURS)
    for number, topic in enumerate(TOPICS, 1)
  ]


def records(inputs: ReportInput, analysis: dict) -> list[dict]:
  """The items for a CSV file."""
  return [item._asdict() for item in items(inputs, analysis)]


def _of_data(inputs: ReportInput, config: ExperimentConfig) -> dict[int, str]:
  unit = inputs.dataset["unit"]
  unused = inputs.dataset.get("unused_subjects", [])
  numbers = " ".join(methods_text.data(inputs, config))
  several = f"{counted(len(unused), unit)} in no split" if unused else "none left out"
  chosen = [f"only volumes named {', '.join(config.data.include)}"]
  chosen = chosen if config.data.include else []
  if number := config.data.slices_per_volume:
    chosen.append(f"the {number} central slices of each volume")
  empty = sum(
    record["empty_slices"]
    for record in inputs.tables.volumes
    if record["protocol"] == inputs.roles.protocol
    and record["model"] == inputs.tables.volumes[0]["model"]
  )
  missing = "no value was imputed"
  if empty:
    missing += f"; {counted(empty, 'evaluated slice')} without signal"
  given = inputs.dataset.get("given_inputs")
  target = "targets given with the inputs" if given else "fully sampled images"
  regions = _TARGETS
  if config.evaluation.rois not in ("", "auto"):
    regions = (
      f"regions of interest are those of {config.evaluation.rois}: {YOURS} whose"
    )
  return {
    1: f"deep learning: knowledge distillation of {_kinds(config)}",
    7: f"{config.data.label}; references.bib",
    9: " ".join(methods_text.preparation(inputs, config)),
    10: "; ".join(chosen) or "all slices of all volumes",
    12: missing,
    13: " ".join(methods_text.measurement(inputs, config)) + f" Scanner: {YOURS}.",
    14: f"{target}, as the data hold them",
    16: regions,
    17: regions,
    18: _TARGETS if regions == _TARGETS else "",
    19: numbers,
    20: f"by {unit}; a slice that is in two splits is refused",
    21: f"evaluated: {_evaluated(inputs)}; why so many: {YOURS}",
    35: f"{numbers} {several[0].upper()}{several[1:]}.",
  }


def _of_networks(inputs: ReportInput, config: ExperimentConfig) -> dict[int, str]:
  stages = [name for name in config.pipeline if name in inputs.epochs]
  begun = [k for k in stages if not config.stages[k].start]
  started = [
    f"{name} from {config.stages[name].start}"
    for name in stages
    if config.stages[name].start
  ]
  first = [f"random for {', '.join(begun)}"] if begun else []
  first += [f"{name} given" for name in inputs.given]
  selected = [f"{k}: lowest validation {config.stages[k].select}" for k in stages]
  several = [
    f"{name} learns from the mean of {', '.join(taught)}"
    for name in stages
    if len(taught := config.stages[name].taught_by("")) > 1
  ]
  return {
    22: _sizes(inputs) + "methods.md, Networks",
    23: " ".join(methods_text.software(inputs)[:1]),
    24: "; ".join([*first, *started]),
    25: " ".join([*training_text.seeds(inputs), "See methods.md, Training."]),
    26: "; ".join(selected),
    27: "; ".join(several) or "none: each network reconstructs alone",
  }


def _of_evaluation(inputs: ReportInput, analysis: dict) -> dict[int, str]:
  there = inputs.dataset.get("test_source")
  shifted = methods_text.shifted(inputs)
  shown = [] if inputs.attention is None else ["attention maps"]
  shown += ["the share of each term in the gradient"] if analysis["audit"] else []
  held_out = inputs.evaluated_on == "test"
  names = ", ".join(m.title for m in listed(inputs.tables.metrics).values())
  return {
    28: f"{names}, protocol {inputs.roles.protocol}; methods.md, Evaluation",
    29: " ".join([*methods_text.statistics(inputs, analysis)[:2], "See methods.md."]),
    30: f"measured under {shifted}" if shifted else "not measured in this run",
    31: " and ".join(shown) or "none in this run",
    32: ""
    if there
    else f"{_evaluated(inputs)} of the {inputs.evaluated_on} split"
    + ("" if held_out else ", which also chose the weights"),
    33: f"{_evaluated(inputs)} of {there['tested_on']}"
    if there
    else f"none in this run, as far as it knows the data; {YOURS}",
    37: " ".join(
      [*analysis["answer"][:1], "All: table.csv, summary.csv, report.json."]
    ),
    38: "no diagnosis was made: image quality alone",
    39: _worst(inputs, analysis),
    40: f"report.md, {CAUTIONS!r}: {counted(len(analysis['cautions']), 'caution')}; "
    f"others: {YOURS}",
    42: "report.json has the whole configuration and all numbers",
    43: f"kdmri_jax {kdmri_jax.__version__}, Apache-2.0; weights and data: {YOURS}",
  }


def _kinds(config: ExperimentConfig) -> str:
  kinds = (config.models[config.stages[k].model].network for k in config.pipeline)
  names = dict.fromkeys(methods_text.NETWORKS.get(kind, kind) for kind in kinds)
  return " and ".join(names)


def _sizes(inputs: ReportInput) -> str:
  return "".join(f"{k} {count(n)} parameters; " for k, n in inputs.parameters.items())


def _evaluated(inputs: ReportInput) -> str:
  """Number of evaluated subjects, with their unit."""
  return counted(len({r["subject"] for r in inputs.tables.volumes}), inputs.unit)


def _worst(inputs: ReportInput, analysis: dict) -> str:
  """The slice on which the leading network is worst by the first metric."""
  (first, metric), *_ = inputs.tables.metrics.items()
  records = [
    record
    for record in inputs.tables.slices
    if record["model"] == analysis["leading"]
    and record["protocol"] == inputs.roles.protocol
    and math.isfinite(record[first])
  ]
  if not records:
    return ""
  sign = 1 if metric.higher_is_better else -1
  worst = min(records, key=lambda record: sign * record[first])
  value = f"{wording.number(worst[first], metric)} {metric.unit}".strip()
  return (
    f"worst slice of {worst['model']}: {metric.title} {value}, volume "
    f"{worst['volume']}, slice {worst['slice'] + 1}; slices.csv has all; what they "
    f"mean: {YOURS}"
  )
