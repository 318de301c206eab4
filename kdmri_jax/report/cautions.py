"""Limitations to consider before quoting a number of the report."""

import math
import statistics
from collections import Counter

from kdmri_jax.data.source import SUBJECT
from kdmri_jax.data.split import counted, plural
from kdmri_jax.report import other_causes, wording
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
    *_once(inputs, pairs),
    *_unconverged(inputs, pairs),
    *other_causes.sentences(inputs, pairs),
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
      narrow = "interval is too narrow and the p-value" if count == 1 else "p-value is"
      yield (
        f"The unit is the slice, because there {'is' if count == 1 else 'are'} only "
        f"{wording.groups(pair)}. Slices of the same {group} are not independent of "
        f"each other, so the {narrow} too small. Others may differ."
      )
    elif count < _FEW_SUBJECTS:
      yield (
        f"Intervals over {counted(count, group)} assume that the differences are "
        "normally distributed, which so few cannot show."
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
    fewer = row["n_seeds"] < len(inputs.seeds) and not row["once"]
    if row["model"] in inputs.parameters and fewer:
      yield (
        f"{row['model']} has been trained with {row['n_seeds']} of {len(inputs.seeds)} "
        "seeds: its row is the mean over those, and its differences are over the seeds "
        "that both networks have."
      )


def _once(inputs, pairs):
  """Networks that are the same for all seeds, foremost a teacher that all share."""
  compared = {pair[key] for pair in pairs for key in ("a", "b")}
  stages = other_causes.as_trained(inputs)
  own = {k: stage for k, stage in stages.items() if k not in inputs.given}
  for name in (k for k in inputs.given if k in inputs.once):
    taught = [k for k in own if k in compared and name in other_causes.teachers(own, k)]
    same = f"is one training, the same for all {len(inputs.seeds)} seeds"
    if taught:
      also = f", which teaches {', '.join(taught)},"
      yield f"{name}{also} {same}: no interval covers another teacher."
    elif name in compared:
      yield f"{name} {same}: no interval covers another training of it."


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
