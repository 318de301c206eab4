"""What a reader must know before quoting a number of the report."""

from typing import Any

from kdmri_jax.evaluation import wording
from kdmri_jax.evaluation.report.inputs import ReportInput

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
TWO_SEEDS = (
  "Only 2 seeds: trainings vary, and two of them cannot show by how much, so the "
  "intervals are too narrow. Train with more."
)
_FEW_SEEDS = 10  # below, the interval covers visibly less than it says


def cautions(inputs: ReportInput, rows: list[dict], pairs: list[dict], audit) -> list:
  """Sentences, each once.

  Args:
    inputs: what the report is made of.
    rows: from `rows.summary_rows`.
    pairs: from `statistics.paired`.
    audit: from `audits.summarise`.
  """
  found = [pair["caution"] for pair in pairs if pair["caution"]]
  found += inputs.dataset.get("notes", [])
  if simulated(inputs.dataset):
    found.append(SIMULATED)
  if inputs.evaluated_on == "validation":
    found.append(SELECTED)
  found += _seeds(inputs, rows, pairs)
  found += _unequal_training(inputs, pairs)
  found += _chosen_best(inputs, pairs)
  found += _absent_terms(audit)
  found += _empty_slices(inputs)
  return list(dict.fromkeys(found))


def simulated(dataset: dict[str, Any]) -> bool:
  """Whether k-space was simulated; only an explicit False says that it was not."""
  return dataset.get("simulated_kspace", True) is not False


def _seeds(inputs, rows, pairs):
  found = []
  for n in sorted({pair["n_seeds"] for pair in pairs} or {len(inputs.seeds)}):
    if n == 1:
      found.append(ONE_SEED)
    elif n == 2:
      found.append(TWO_SEEDS)
    elif n < _FEW_SEEDS:
      found.append(
        f"An interval by percentile bootstrap of {n} seeds is too narrow where "
        "trainings vary more than subjects do."
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
  """What a gain of distillation is also owed to: a longer training."""
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
      f"What distillation itself gains is the difference from {inputs.control}, "
      f"trained alone for {alone}."
    )
  return (
    f"{inputs.control}, trained alone for {alone}, is no match for that either "
    f"(--config.stages.{inputs.control}.epochs)."
  )


def _chosen_best(inputs, pairs):
  compared = {pair["a"] for pair in pairs} & set(inputs.distilled)
  if len(compared) < 2:
    return []
  return [
    f"{len(compared)} distilled networks are compared: the best of them owes a part of "
    "its lead to having been chosen on these subjects, and no p-value is corrected for "
    "the number of comparisons."
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
  what = "left out" if inputs.protocol == "slice" else "kept in the volumes' values"
  return [
    f"{sum(empty.values())} slices of {len(empty)} volumes have no signal; {what}."
  ]
