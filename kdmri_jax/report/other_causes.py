"""Cautions on causes that a gain has beside distillation."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from kdmri_jax.config import starting
from kdmri_jax.report.inputs import ReportInput

_OPTIMISATION = ("optimiser", "optimiser_settings", "learning_rate", "schedule")
_OPTIMISATION += ("decay_factor", "warmup", "clip", "ema", "kernels")
_OPTIMISATION += ("decay_epochs", "augment", "batch_size")

Stages = Mapping[str, Mapping[str, Any]]


def sentences(inputs: ReportInput, pairs: list[dict]) -> list[str]:
  """The cautions.

  Args:
    inputs: the inputs of the report.
    pairs: from `report.paired`.
  """
  stages = as_trained(inputs)
  return [
    *_unequal_training(inputs, pairs, stages),
    *_unequal_optimisation(inputs, pairs, stages),
  ]


def as_trained(inputs: ReportInput) -> Stages:
  """The stages with the settings of their training: given ones with their record's.

  Each has besides its settings "unknown", words for what is not known of it, or "",
  and the "augment" and "batch_size" that were used. Stages of which nothing is known
  have their "model" alone; it is None where not even the network is known.
  """
  return {
    name: _as_trained(inputs, name, plan)
    for name, plan in inputs.config.get("stages", {}).items()
  }


def _as_trained(inputs: ReportInput, name: str, plan: Mapping) -> dict[str, Any]:
  given, record = inputs.given.get(name), {**inputs.config, "stage": plan}
  model = plan.get("model")
  if given:
    model = model if given.has_network else None
    if given.record is None:
      unknown = f"how {name} was trained"
      if not given.has_network:
        unknown = f"which network {name} is and how it was trained"
      return {"model": model, "unknown": unknown}
    record = given.record
  stage = record["stage"]
  known = {**stage, "model": model, "unknown": ""}
  start, part = starting.parts(stage.get("start_from", ""))
  is_own = not given or not start or start.startswith(starting.PRETRAINED)
  if not (is_own or part or stage.get("shrink")):
    known |= {"start_from": "", "unknown": f"how {start}, before {name}, was trained"}
  augment = stage.get("augment") or {}
  varies = any(any(x) if isinstance(x, list) else x for x in augment.values())
  known["augment"] = augment if varies else record.get("augment")
  return known | {"batch_size": record.get("batch_size")}


def teachers(stages: Stages, name: str) -> set[str]:
  """The stages that teach one, or an earlier one whose weights it goes on with."""
  found: set[str] = set()
  for stage in _in_turn(stages, name):
    for names in (stage.get("teacher", ""), *stage.get("teachers", {}).values()):
      found.update(filter(None, names.split(",")))
  return found


def _unequal_training(inputs, pairs, stages):
  """Another cause of a gain of distillation: a longer training."""
  roles, compared = inputs.roles, {(pair["a"], pair["b"]) for pair in pairs}
  known = {name: budget.epochs for name, budget in inputs.budgets.items()}
  epochs = {name: number for name, number in known.items() if number}

  def comparable(name: str, baseline: str) -> bool:
    is_known = name in epochs and baseline in epochs
    shared = _share_a_network(stages, name, baseline)
    return is_known and shared and (name, baseline) in compared

  longer: dict[tuple[str, int], list[str]] = {}
  for name in roles.distilled:
    for baseline in (roles.student, roles.control):
      if comparable(name, baseline) and epochs[name] > epochs[baseline]:
        longer.setdefault((baseline, epochs[name]), []).append(name)
        break
  for (baseline, more), names in longer.items():
    text = (
      f"The weights of {', '.join(names)} have been trained for {more} epochs in all, "
      f"those of {baseline} for {epochs[baseline]}. {_not_counted(stages, names)}"
    )
    control = roles.control if roles.control != baseline else ""
    if not any(comparable(name, control) for name in names):
      yield (
        f"{text}Train {baseline} as long (config.stages.{baseline}.epochs={more}) "
        "before calling the whole difference a gain of distillation."
      )
    elif epochs[control] >= more:
      yield (
        f"{text}The gain of distillation itself is the difference from {control}, "
        f"trained alone for {epochs[control]}."
      )
    else:
      yield (
        f"{text}{control}, trained alone for {epochs[control]}, does not match that "
        f"either (config.stages.{control}.epochs)."
      )


def _not_counted(stages, names):
  """Sentences on the networks whose layers these took over; "" without any."""
  begun: dict[str, list[str]] = {}
  for name in names:
    other = _taken_over(stages, name) if name in stages else ""
    if other and not other.startswith(starting.PRETRAINED):
      begun.setdefault(other, []).append(name)
  return "".join(
    f"The epochs of {other}, from whose weights {', '.join(own)} started, do not "
    "count here. "
    for other, own in begun.items()
  )


def _unequal_optimisation(inputs, pairs, stages):
  """Other causes of a gain: another network, a better optimiser, or a better start."""
  roles = inputs.roles
  for pair in pairs:
    name, baseline = pair["a"], pair["b"]
    if name not in roles.distilled or not {name, baseline} <= stages.keys():
      continue
    if baseline == roles.teacher or _is_taught(stages[baseline]):
      continue
    for cause in _causes(stages, name, baseline):
      yield f"{cause}: the difference between them is not one of distillation alone."
    if unknown := _unknown(stages, name, baseline):
      yield (
        f"It is not known {' and '.join(unknown)}: the difference between {name} and "
        f"{baseline} may not be one of distillation alone."
      )


def _causes(stages: Stages, name: str, baseline: str) -> Iterator[str]:
  if not _share_a_network(stages, name, baseline):
    yield f"{name} is another network than {baseline}"
  both = list(itertools.product(*(_in_turn(stages, x) for x in (name, baseline))))
  alike = {key: all(_alike(key, *each) for each in both) for key in _OPTIMISATION}
  if keys := [key for key, equal in alike.items() if not equal]:
    yield f"{name} was trained with another {' and '.join(keys)} than {baseline}"
  if not both:
    return
  starts = {each: _taken_over(stages, each) for each in (name, baseline)}
  if len(set(starts.values())) > 1:
    own, other = (name, baseline) if starts[name] else (baseline, name)
    yield f"{own} started from weights of {starts[own]}, unlike {other}"


def _unknown(stages, *names):
  """What is not known of the stages, and of those whose weights they go on with."""
  found = (stage["unknown"] for name in names for stage in _chain(stages, name))
  return list(dict.fromkeys(filter(None, found)))


def _share_a_network(stages, *names):
  """Whether networks are of one model, as far as it is known."""
  models = {stages.get(name, {}).get("model") for name in names}
  return len(models - {None}) <= 1


def _in_turn(stages: Stages, name: str) -> list[Mapping[str, Any]]:
  """A stage, and those whose weights it goes on with, as far as they are known."""
  found = _chain(stages, name)
  return [stage for stage in found if stage.keys() != {"model", "unknown"}]


def _chain(stages: Stages, name: str) -> Iterator[Mapping[str, Any]]:
  while name in stages:
    stage = stages[name]
    yield stage
    name, part = starting.parts(stage.get("start_from", ""))
    if part or stage.get("shrink"):
      return


def _alike(key, x, y):
  """Whether two stages have a setting in common; their rates may fall by a step."""
  if not key.startswith("decay_"):
    return x.get(key) == y.get(key)
  if (x.get("schedule"), y.get("schedule")) != ("step", "step"):
    return True
  if key == "decay_factor":
    return x.get(key) == y.get(key)
  (first, epochs), (second, others) = (
    (stage.get(key, 0), stage.get("epochs", 0)) for stage in (x, y)
  )
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
