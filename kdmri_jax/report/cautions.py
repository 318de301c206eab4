"""Limitations to consider before quoting a number of the report."""

import itertools
import math
import statistics
from collections import Counter

from kdmri_jax.config import starting
from kdmri_jax.data.source import SUBJECT
from kdmri_jax.data.split import counted, plural
from kdmri_jax.report import wording
from kdmri_jax.report.inputs import ReportInput

_FEW_SUBJECTS = 10
_FEW_SEEDS = 10
_RISE = 0.05  # dB of PSNR
_MOST_NAMED = 4
_ALIKE = (
  "If several show one subject, they resemble each other: intervals are then too "
  "narrow and p-values too small, and an evaluated subject may also be in the training "
  "set."
)
_SIMULATED = (
  "K-space was simulated from processed images, for which every method gives better "
  "results than for raw measurements (Shimron et al., PNAS 2022). Compare the models "
  "with each other, not with results on raw k-space."
)
_OPTIMISATION = ("optimiser", "optimiser_settings", "learning_rate", "schedule")
_OPTIMISATION += ("decay_factor", "warmup", "clip", "ema", "kernels")


def cautions(
  inputs: ReportInput,
  rows: list[dict],
  pairs: list[dict],
  audit: list[dict],
  robustness: dict | None,
) -> list[str]:
  """Sentences, each once.

  Args:
    inputs: the inputs of the report.
    rows: from `rows.summary_rows`.
    pairs: from `report.paired`.
    audit: from `gradient_audit.summarise`.
    robustness: from `stability.summary`.
  """
  found = [
    *_few_subjects(pairs),
    *inputs.dataset.get("notes", []),
    *_units(inputs, pairs),
    *_simulated(inputs),
    *_selected(inputs),
    *_seeds(inputs, rows, pairs),
    *_unconverged(inputs, pairs),
    *_unequal_training(inputs, pairs),
    *_unequal_optimisation(inputs, pairs),
    *_several_teachers(inputs),
    *_chosen_best(inputs, pairs),
    *_absent_terms(audit),
    *_empty_slices(inputs),
    *_other_sources(inputs, robustness),
  ]
  return list(dict.fromkeys(found))


def _few_subjects(pairs):
  for pair in pairs:
    group, count = pair["group"], pair["subjects"]
    if pair["unit"] != group:
      yield (
        f"The unit is the slice, because there {'is' if count == 1 else 'are'} only "
        f"{wording.groups(pair)}. Slices of the same {group} are not independent of "
        "each other, so the interval is too narrow and the p-value too small. Others "
        "may differ."
      )
    elif count < _FEW_SUBJECTS:
      yield (
        f"Intervals over {counted(count, group)} are too narrow, because so few "
        "underestimate their spread."
      )


def _units(inputs, pairs):
  many = plural(inputs.unit)
  if inputs.unit != SUBJECT:
    yield f"Not subjects but {many} are split and compared. {_ALIKE}"
  volumes = {(record["subject"], record["volume"]) for record in inputs.tables.volumes}
  sizes = Counter(subject for subject, _ in volumes).values()
  if len(set(sizes)) > 1 and any(pair["unit"] == pair["group"] for pair in pairs):
    yield (
      f"The {many} have different numbers of volumes. The table's means weight every "
      f"volume equally, the differences every {inputs.unit}, so a difference may "
      "deviate from that of two rows of the table."
    )


def _simulated(inputs):
  sources = inputs.dataset, inputs.dataset.get("test_source", inputs.dataset)
  if all(each.get("given_inputs") for each in sources):
    tasks = inputs.config.get("tasks") or {"": inputs.config}
    if all(task["mask"]["kind"] == "full" for task in tasks.values()):
      return  # the inputs are images as given
  if any(each.get("simulated_kspace") is not False for each in sources):
    yield _SIMULATED


def _selected(inputs):
  many = plural(inputs.unit)
  if inputs.evaluated_on == "validation":
    remedy = f"name held-out {many} in data.test"
    if not inputs.config.get("data", {}).get("use_test", True):
      remedy = f"test {many} are kept back; set data.use_test=True"
    yield (
      f"The validation {many} also chose the weights that were kept, which favours "
      f"every network slightly; {remedy} to avoid it."
    )


def _seeds(inputs, rows, pairs):
  units = plural(pairs[0]["unit"] if pairs else inputs.unit)
  for n in sorted({pair["n_seeds"] for pair in pairs} or {len(inputs.seeds)}):
    if n == 1:
      yield (
        f"One training run with one seed: the intervals cover the choice of {units}, "
        "not the effect of another initialisation or data order."
      )
    elif n < _FEW_SEEDS:
      yield (
        f"Only {n} seeds: the intervals account for the small number of trainings and "
        "are wide, so a difference that cannot be claimed may still exist. The "
        "p-values do not account for it: they hold for these trainings."
      )
  for row in rows:
    if row["model"] in inputs.parameters and row["n_seeds"] < len(inputs.seeds):
      yield (
        f"{row['model']} has been trained with {row['n_seeds']} of {len(inputs.seeds)} "
        "seeds: its row is the mean over those, and its differences are over the seeds "
        "that both networks have."
      )


def _unconverged(inputs, pairs):
  """Networks that a longer training would improve, which may change their order."""
  compared = {pair[key] for pair in pairs for key in ("a", "b")}
  rises = {k: _last_rise(v) for k, v in inputs.epochs.items() if k in compared}
  still = sorted((k for k in rises if rises[k] > _RISE), key=rises.get, reverse=True)
  if still:
    words = [f"{name} by {rises[name]:.2f} dB" for name in still[:_MOST_NAMED]]
    more = f" and {len(still) - len(words)} more" if len(still) > len(words) else ""
    yield (
      "Not converged: the validation PSNR still rose in the last quarter of the "
      f"training, of {', '.join(words)}{more}. Longer training may change the "
      "differences."
    )


def _last_rise(runs):
  """Rise of the best PSNR in the last quarter of the epochs, mean over the seeds."""
  rises = []
  for lines in runs:
    found = (line["validation"].get("psnr") for line in lines)
    psnr = [value for value in found if isinstance(value, float)]
    start = math.ceil(0.75 * len(psnr))
    rises += [max(psnr) - max(psnr[:start])] if 0 < start < len(psnr) else []
  return statistics.fmean(rises) if rises else 0.0


def _unequal_training(inputs, pairs):
  """Another cause of a gain of distillation: a longer training."""
  roles, compared = inputs.roles, {(pair["a"], pair["b"]) for pair in pairs}
  stages = inputs.config.get("stages", {})
  epochs = {name: budget.epochs for name, budget in inputs.budgets.items()}
  less, alone = (epochs.get(name, 0) for name in (roles.student, roles.control))
  longer = {}
  for name in roles.distilled:
    if not _share_a_network(stages, name, roles.student):
      continue
    if (name, roles.student) in compared and epochs.get(name, 0) > less:
      longer.setdefault(epochs[name], []).append(name)
  for more, names in longer.items():
    text = (
      f"The weights of {', '.join(names)} have been trained for {more} epochs in all, "
      f"those of {roles.student} for {less}. "
    )
    if not any((name, roles.control) in compared for name in names):
      yield (
        f"{text}Train {roles.student} as long "
        f"(--config.stages.{roles.student}.epochs={more}) before calling the whole "
        "difference a gain of distillation."
      )
    elif alone >= more:
      yield (
        f"{text}The gain of distillation itself is the difference from "
        f"{roles.control}, trained alone for {alone}."
      )
    else:
      yield (
        f"{text}{roles.control}, trained alone for {alone}, does not match that either "
        f"(--config.stages.{roles.control}.epochs)."
      )


def _unequal_optimisation(inputs, pairs):
  """Other causes of a gain: another network, a better optimiser, or a better start."""
  roles, stages = inputs.roles, inputs.config.get("stages", {})
  trained = stages.keys() - inputs.given.keys()
  for pair in pairs:
    name, baseline = pair["a"], pair["b"]
    if name not in roles.distilled or not {name, baseline} <= trained:
      continue
    if baseline != roles.teacher and not _is_taught(stages[baseline]):
      for cause in _causes(inputs.config, name, baseline):
        yield f"{cause}: the difference between them is not one of distillation alone."


def _causes(config, name, baseline):
  stages = config["stages"]
  if not _share_a_network(stages, name, baseline):
    yield f"{name} is another network than {baseline}"
  a, b = (list(_in_turn(config, each)) for each in (name, baseline))
  both = list(itertools.product(a, b))
  if keys := [key for key in a[0] if any(not _alike(key, *each) for each in both)]:
    yield f"{name} was trained with another {' and '.join(keys)} than {baseline}"
  starts = {each: _taken_over(stages, each) for each in (name, baseline)}
  if len(set(starts.values())) > 1:
    own, other = (name, baseline) if starts[name] else (baseline, name)
    yield f"{own} started from weights of {starts[own]}, unlike {other}"


def _share_a_network(stages, *names):
  """Whether networks are of one model, as far as it is recorded."""
  models = {stages.get(name, {}).get("model") for name in names}
  return len(models - {None}) <= 1


def _in_turn(config, name):
  """The optimisation of a stage, and of those whose weights it goes on with."""
  stages = config["stages"]
  while name in stages:
    stage = stages[name]
    augment = stage.get("augment") or {}
    varies = any(any(x) if isinstance(x, list) else x for x in augment.values())
    yield {
      **{key: stage.get(key) for key in _OPTIMISATION},
      "decay_epochs": (stage.get("decay_epochs", 0), stage.get("epochs", 0)),
      "augment": augment if varies else config.get("augment"),
    }
    name, part = starting.parts(stage.get("start_from", ""))
    if part or stage.get("shrink"):
      return


def _alike(key, x, y):
  """Whether two stages have a setting in common; their rates may fall by a step."""
  if not key.startswith("decay_"):
    return x[key] == y[key]
  if (x["schedule"], y["schedule"]) != ("step", "step"):
    return True
  if key == "decay_factor":
    return x[key] == y[key]
  (first, epochs), (second, others) = x[key], y[key]
  # The same share of the training, but for a whole number of epochs.
  return abs(first * others - second * epochs) <= max(epochs, others)


def _is_taught(stage):
  return bool(stage.get("teacher") or stage.get("teachers"))


def _taken_over(stages, name):
  """The stage from whose layers a network started, perhaps in an earlier stage; ""."""
  part = ""
  while name in stages and part != "layers":
    if stages[name].get("shrink"):
      return stages[name]["teacher"]
    name, part = starting.parts(stages[name].get("start_from", ""))
  return name


def _several_teachers(inputs):
  """The mean of several teachers may be better than the one that bounds the gap."""
  stages, bound = inputs.config.get("stages", {}), inputs.roles.teacher
  taught: dict[str, list[str]] = {}
  for name in inputs.roles.distilled:
    stage = stages.get(name, {})
    for teachers in (stage.get("teacher", ""), *stage.get("teachers", {}).values()):
      if "," in teachers:
        taught.setdefault(teachers.replace(",", ", "), []).append(name)
  for teachers, names in taught.items():
    yield (
      f"The mean of the images of {teachers} has taught {', '.join(names)}. It may be "
      f"better than {bound} alone, to which the gap is measured."
    )


def _chosen_best(inputs, pairs):
  compared = {pair["a"] for pair in pairs} & set(inputs.roles.distilled)
  if len(compared) > 1:
    yield (
      f"{len(compared)} distilled networks are compared: a part of the best one's lead "
      "comes from its selection on these images, and no p-value is corrected for the "
      "number of comparisons."
    )


def _absent_terms(audit):
  for entry in audit:
    if entry["absent"]:
      yield (
        f"The term {entry['term']} of stage {entry['stage']} contributes at most "
        f"{wording.exponent(entry['largest_share'])} of the gradient: in effect it is "
        "absent."
      )


def _other_sources(inputs, robustness):
  """What holds for the volumes of a shifted condition alone, after its name."""
  known = {*inputs.dataset.get("notes", []), *_simulated(inputs)}
  for row in robustness["rows"] if robustness else ():
    each = inputs.robustness.get(row["condition"])
    if not (each and each.source):
      continue
    found = [*_few_subjects(row["paired"]), *each.source["notes"]]
    if row["unit"] != SUBJECT:
      found.append(f"Not subjects but {plural(row['unit'])} are compared. {_ALIKE}")
    if each.source["simulated_kspace"]:
      found.append(_SIMULATED)
    for text in found:
      if text not in known:
        yield f"{row['condition']}: {text}"


def _empty_slices(inputs):
  protocol = inputs.roles.protocol
  volumes = [r for r in inputs.tables.volumes if r["protocol"] == protocol]
  empty = {r["volume"]: r["empty_slices"] for r in volumes if r["empty_slices"]}
  total, where = sum(empty.values()), "omitted"
  if protocol != "slice":
    where = "kept in the volumes' values, omitted from comparisons over slices"
  if empty:
    yield (
      f"{counted(total, 'slice')} of {counted(len(empty), 'volume')} "
      f"{'has' if total == 1 else 'have'} no signal: {where}."
    )
