"""Limitations to consider before quoting a number of the report."""

from collections import Counter
from typing import Any

from kdmri_jax.data.source import SUBJECT
from kdmri_jax.data.split import counted, plural
from kdmri_jax.report import wording
from kdmri_jax.report.inputs import ReportInput

SIMULATED = (
  "K-space was simulated from processed images, for which every method gives better "
  "results than for raw measurements (Shimron et al., PNAS 2022). Compare the models "
  "with each other, not with results on raw k-space."
)
_FEW_SUBJECTS = 10
_FEW_SEEDS = 10


def cautions(
  inputs: ReportInput, rows: list[dict], pairs: list[dict], audit: dict
) -> list:
  """Sentences, each once.

  Args:
    inputs: the inputs of the report.
    rows: from `rows.summary_rows`.
    pairs: from `report.paired`.
    audit: from `audits.summarise`.
  """
  found = _few_subjects(pairs)
  found += inputs.dataset.get("notes", [])
  found += _not_subjects(inputs)
  found += _unequal_volumes(inputs, pairs)
  if simulated(inputs.dataset):
    found.append(SIMULATED)
  found += _selected(inputs)
  found += _seeds(inputs, rows, pairs)
  found += _unequal_training(inputs, pairs)
  found += _chosen_best(inputs, pairs)
  found += _absent_terms(audit)
  found += _empty_slices(inputs)
  return list(dict.fromkeys(found))


def simulated(dataset: dict[str, Any]) -> bool:
  """Whether k-space was simulated: True unless the record has an explicit False."""
  return dataset.get("simulated_kspace", True) is not False


def _few_subjects(pairs):
  found = []
  for pair in pairs:
    group, count = pair["group"], pair["subjects"]
    if pair["unit"] != group:
      found.append(
        f"The unit is the slice, because there {'is' if count == 1 else 'are'} only "
        f"{wording.groups(pair)}. Slices of the same {group} are not independent of "
        "each other, so the interval is too narrow and the p-value too small. Others "
        "may differ. A mean over slices need not equal the difference "
        "between the volumes' values."
      )
    elif count < _FEW_SUBJECTS:
      found.append(
        f"Intervals over {counted(count, group)} are too narrow, because so few "
        "underestimate their spread."
      )
  return found


def _not_subjects(inputs):
  if inputs.unit == SUBJECT:
    return []
  many = plural(inputs.unit)
  return [
    f"Not subjects but {many} are split and compared. If several show one subject, "
    "they resemble each other: intervals are then too narrow and p-values too small, "
    "and an evaluated subject may also be in the training set."
  ]


def _unequal_volumes(inputs, pairs):
  if all(pair["unit"] != pair["group"] for pair in pairs):
    return []
  volumes = {(record["subject"], record["volume"]) for record in inputs.tables.volumes}
  if len(set(Counter(subject for subject, _ in volumes).values())) == 1:
    return []
  return [
    f"The {plural(inputs.unit)} have different numbers of volumes. The table's means "
    f"weight every volume equally, the differences every {inputs.unit}, so a "
    "difference may deviate from that of two rows of the table."
  ]


def _selected(inputs):
  if inputs.evaluated_on != "validation":
    return []
  many = plural(inputs.unit)
  return [
    f"The validation {many} also chose the weights that were kept, which favours every "
    f"network slightly; name held-out {many} in data.test to avoid it."
  ]


def _seeds(inputs, rows, pairs):
  found = []
  units = plural(pairs[0]["unit"] if pairs else inputs.unit)
  for n in sorted({pair["n_seeds"] for pair in pairs} or {len(inputs.seeds)}):
    if n == 1:
      found.append(
        f"One training run with one seed: the intervals cover the choice of {units}, "
        "not the effect of another initialisation or data order."
      )
    elif n < _FEW_SEEDS:
      found.append(
        f"Only {n} seeds: the intervals account for the small number of trainings and "
        "are wide, so a difference that cannot be claimed may still exist. The "
        "p-values do not account for it: they hold for these trainings."
      )
  networks = [row for row in rows if row["model"] in inputs.parameters]
  fewer = [row for row in networks if row["n_seeds"] < len(inputs.seeds)]
  found += [
    f"{row['model']} has been trained with {row['n_seeds']} of {len(inputs.seeds)} "
    "seeds: its row is the mean over those, and its differences are over the seeds "
    "that both networks have."
    for row in fewer
  ]
  return found


def _unequal_training(inputs, pairs):
  """Another cause of a gain of distillation: a longer training."""
  compared = {(pair["a"], pair["b"]) for pair in pairs}
  epochs = {name: budget.epochs for name, budget in inputs.budgets.items()}
  less = epochs.get(inputs.student, 0)
  longer = {}
  for name in inputs.distilled:
    if (name, inputs.student) in compared and epochs.get(name, 0) > less:
      longer.setdefault(epochs[name], []).append(name)
  found = []
  for more, names in longer.items():
    text = (
      f"The weights of {', '.join(names)} have been trained for {more} epochs in all, "
      f"those of {inputs.student} for {less}."
    )
    if any((name, inputs.control) in compared for name in names):
      found.append(f"{text} {_fair_baseline(inputs, epochs, more)}")
    else:
      found.append(
        f"{text} Train {inputs.student} as long "
        f"(--config.stages.{inputs.student}.epochs={more}) before calling the whole "
        "difference a gain of distillation."
      )
  return found


def _fair_baseline(inputs, epochs, more):
  alone = epochs.get(inputs.control, 0)
  if alone >= more:
    return (
      f"The gain of distillation itself is the difference from {inputs.control}, "
      f"trained alone for {alone}."
    )
  return (
    f"{inputs.control}, trained alone for {alone}, does not match that either "
    f"(--config.stages.{inputs.control}.epochs)."
  )


def _chosen_best(inputs, pairs):
  compared = {pair["a"] for pair in pairs} & set(inputs.distilled)
  if len(compared) < 2:
    return []
  return [
    f"{len(compared)} distilled networks are compared: a part of the best "
    "one's lead comes from its selection on these images, and no p-value is corrected "
    "for the number of comparisons."
  ]


def _absent_terms(audit):
  return [
    f"The term {entry['term']} of stage {entry['stage']} contributes at most "
    f"{wording.exponent(entry['largest_share'])} of the gradient: in effect it is "
    "absent."
    for entry in audit
    if entry["absent"]
  ]


def _empty_slices(inputs):
  volumes = [r for r in inputs.tables.volumes if r["protocol"] == inputs.protocol]
  empty = {r["volume"]: r["empty_slices"] for r in volumes if r["empty_slices"]}
  if not empty:
    return []
  total = sum(empty.values())
  what = "omitted"
  if inputs.protocol != "slice":
    what = "kept in the volumes' values, omitted from comparisons over slices"
  return [
    f"{counted(total, 'slice')} of {counted(len(empty), 'volume')} "
    f"{'has' if total == 1 else 'have'} no signal: {what}."
  ]
