"""The names in the report's tables, each explained in a few words."""

from kdmri_jax.config import starting
from kdmri_jax.config.schema import CG_SENSE, ZERO_FILLED
from kdmri_jax.data.split import counted
from kdmri_jax.report import blocks
from kdmri_jax.report.inputs import GivenStage, ReportInput
from kdmri_jax.report.rows import further, main

_WITHOUT_NETWORK = {
  ZERO_FILLED: "the input: k-space that was not measured is zero",
  CG_SENSE: "an iterative reconstruction of several coils, without a network",
}
_GIVEN = "given, not trained in this run"
_LEARNT = {
  "attention_transfer": "its attention maps",
  "imitation": "its images",
  "l1": "the target",
  "mse": "the target",
  "ssim": "the target",
}


def blocks_of(inputs: ReportInput, analysis: dict) -> list:
  """Networks, stages and metrics; nothing where there is nothing to explain."""
  metrics = main(inputs.tables.metrics) | further(inputs.tables.metrics)
  words = {name: _network(inputs, name) for name in analysis["networks"]}
  words |= {metric.title: metric.meaning for metric in metrics.values()}
  items = [(name, text) for name, text in words.items() if text]
  return [blocks.Facts(items, "The names")] if items else []


def _network(inputs: ReportInput, name: str) -> str:
  stages = inputs.config.get("stages", {})
  if name in _WITHOUT_NETWORK:
    return _WITHOUT_NETWORK[name]
  stage, given = stages.get(name), inputs.given.get(name)
  if stage is None:
    return _GIVEN if given else ""
  if given:
    return _of_given(inputs, name, given)
  return _trained(inputs, name, stage)


def _of_given(inputs: ReportInput, name: str, given: GivenStage) -> str:
  stages = inputs.config["stages"]
  if not given.has_network:
    return f"{_GIVEN}; its network and its training are not known"
  if given.record is None:
    size = _size(inputs, stages[name]["model"])
    return f"{size}; {_GIVEN}; its training is not known"
  stage = {**given.record["stage"], "model": stages[name]["model"]}
  taught = f", taught by {' and '.join(given.taught_by)}" if given.taught_by else ""
  return f"{_trained(inputs, name, stage)}; {_GIVEN}{taught}"


def _size(inputs: ReportInput, model: str) -> str:
  roles, stages = inputs.roles, inputs.config["stages"]
  return {
    stages.get(roles.teacher, {}).get("model"): "the large network",
    stages.get(roles.student, {}).get("model"): "the small network",
  }.get(model, f"the network {model}")


def _trained(inputs: ReportInput, name: str, stage: dict) -> str:
  roles, stages = inputs.roles, inputs.config["stages"]
  size = _size(inputs, stage["model"])
  if not _teachers(stage):
    taught = any(name in _teachers(other) for other in stages.values())
    if taught or name == roles.teacher:
      return f"{size}, which teaches{_start(stage)}"
    epochs = counted(stage["epochs"], "epoch")
    return f"{size}, trained alone for {epochs}{_start(stage)}"
  distilled = ", distilled" if name in roles.distilled else ""
  return f"{size}{distilled}: learns {_lessons(stage)}{_start(stage)}"


def _teachers(stage: dict) -> list[str]:
  """The stages that teach one; several for one task teach their mean."""
  taught = stage.get("teachers") or {"": stage.get("teacher", "")}
  return [each for names in taught.values() for each in names.split(",") if each]


def _whose(stage: dict) -> str:
  if len(stage.get("teachers") or ()) > 1:
    return "each task's teacher's"
  return "the mean of the teachers'" if len(_teachers(stage)) > 1 else "the teacher's"


def _lessons(stage: dict) -> str:
  """What the terms of a stage teach: "its images (imitation) and the target (l1)"."""
  terms = [term for term in stage["terms"].values() if term["weight"]]
  terms.sort(key=lambda term: not term["hint"])
  lessons: dict[str, list[str]] = {}
  for term in terms:
    other = "layers of the teacher" if term["hint"] else "the target"
    what = _LEARNT.get(term["loss"], other).replace("its", _whose(stage))
    lessons.setdefault(what, []).append(term["loss"])
  texts = [f"{what} ({', '.join(names)})" for what, names in lessons.items()]
  return " and ".join(texts) or "nothing"


def _start(stage: dict) -> str:
  name, part = starting.parts(stage["start_from"])
  if stage.get("shrink"):
    return f", beginning as {stage['teacher']}"
  if not name:
    return ""
  if part:
    return f", beginning with {part} of {name}"
  is_stage = not name.startswith(starting.PRETRAINED)
  return f", after the stage {name}" if is_stage else f", beginning as {name}"
