"""The methods paragraph on the training: stages, losses, optimiser, seeds."""

from collections.abc import Iterable, Sequence
from typing import Any

from kdmri_jax.config import (
  AugmentConfig,
  ExperimentConfig,
  StageConfig,
  TermConfig,
  starting,
)
from kdmri_jax.data.split import counted
from kdmri_jax.report import wording
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import count

_OPTIMISERS = {"adam": "Adam", "adamw": "AdamW", "muon": "Muon"}
_LONG = 3  # layers that are named one by one


def training(inputs: ReportInput, config: ExperimentConfig) -> list[str]:
  """The stages: losses, teachers, start, optimiser, epochs."""
  texts, alike = [], {}
  for name in config.pipeline:
    if name in inputs.given:
      texts.append(
        f"Stage {name} was not trained here; given: {inputs.given[name].origin}."
      )
    elif name in inputs.epochs:
      texts.append(_stage(name, config, inputs))
      alike.setdefault(optimisation(config, name), []).append(name)
  if len(alike) == 1 and not inputs.given:
    texts.append(f"All these stages: {next(iter(alike))}.")
  else:
    texts += [f"{', '.join(names)}: {text}." for text, names in alike.items()]
  steps = [
    f"{name} {count(budget.steps)}"
    for name, budget in inputs.budgets.items()
    if budget.steps
  ]
  if steps:
    told = ", ".join(steps)
    texts.append(f"Steps with those of the stages they start from: {told}.")
  return texts


def _stage(name: str, config: ExperimentConfig, inputs: ReportInput) -> str:
  stage, runs = config.stages[name], inputs.epochs[name]
  last = max(line["epoch"] for lines in runs for line in lines)
  of = "" if last == stage.epochs else f" of {stage.epochs}"
  loss = " + ".join(_term(term) for term in stage.terms.values() if term.weight)
  text = (
    f"Stage {name} trained network {stage.model} for {last}{of} epochs to minimise "
  )
  text += loss or "no loss"
  if teachers := _teachers(stage):
    text += f", taught by {teachers}"
  if start := _start(stage):
    text += f", {start}"
  if stage.branches:
    text += (
      f", together with branches of network {stage.branches} after each cascade "
      "(SFT-KD-Recon)"
    )
  if stage.swap:
    text += (
      f"; cascades of the teacher stood in during {_share(stage.swap)} of the steps"
    )
  return f"{text}; the weights with the lowest validation {stage.select} were kept."


def _teachers(stage: StageConfig) -> str:
  if stage.teachers:
    names = (f"{v.replace(',', ' and ')} ({k})" for k, v in stage.teachers.items())
    return ", ".join(names)
  names = stage.taught_by("")
  return f"the mean of {' and '.join(names)}" if len(names) > 1 else "".join(names)


def _start(stage: StageConfig) -> str:
  """Where the weights of a stage come from; "" for random ones."""
  if stage.shrink:
    return (
      f"beginning as its teacher, whose surplus layers faded in the first "
      f"{_share(stage.shrink)} of the steps"
    )
  name, part = starting.parts(stage.start_from)
  if not name:
    return ""
  return f"starting from the {part or 'best weights'} of {name}"


def _term(term: TermConfig) -> str:
  text = term.loss if term.weight == 1 else f"{term.weight:g} {term.loss}"
  if term.variant:
    text += f" (variant {term.variant})"
  if term.guided == term.hint == ("image",):
    text += " of the images"
  elif term.hint:
    text += f" of {_layers(term.guided)} to {_layers(term.hint)}"
  return text


def _layers(names: Sequence[str]) -> str:
  if len(names) <= _LONG:
    return ", ".join(names)
  return f"{names[0]} ... {names[-1]} ({len(names)} layers)"


def optimisation(config: ExperimentConfig, name: str) -> str:
  """Optimiser, schedule, batch and augmentation of a stage, without a full stop."""
  stage = config.stages[name]
  settings = ", ".join(
    f"{k} {value_text(v)}" for k, v in stage.optimiser_settings.items()
  )
  optimiser = _OPTIMISERS.get(stage.optimiser, stage.optimiser)
  parts = [optimiser + (f" ({settings})" if settings else "")]
  parts.append(f"learning rate {stage.learning_rate:g}{_schedule(stage)}")
  parts.append(f"batches of {counted(config.batch_size, 'slice')}")
  if stage.clip:
    parts.append(f"gradients clipped to norm {stage.clip:g}")
  if stage.ema:
    parts.append(f"averaged weights of decay {stage.ema:g}")
  if stage.kernels != "plain":
    parts.append(f"{stage.kernels} kernels")
  if changes := _augment(config.augment_of(name)):
    parts.append(f"augmented by {changes}")
  return ", ".join(parts)


def _schedule(stage: StageConfig) -> str:
  text = ""
  if stage.schedule == "cosine":
    text = " that falls to 0 as a cosine"
  elif stage.decay_epochs and stage.decay_factor != 1:
    factor, epochs = f"{stage.decay_factor:g}", counted(stage.decay_epochs, "epoch")
    text = f", multiplied by {factor} every {epochs}"
  if stage.warmup:
    text += f", after a rise over {_share(stage.warmup)} of the steps"
  return text


def _augment(augment: AugmentConfig) -> str:
  plain = vars(AugmentConfig())
  own = {k: v for k, v in vars(augment).items() if v != plain[k]}
  return ", ".join(k if v is True else f"{k} {value_text(v)}" for k, v in own.items())


def seeds(inputs: ReportInput) -> list[str]:
  """The seeds of the trainings; nothing where all stages are given."""
  if not inputs.epochs.keys() - inputs.given.keys():
    return []
  names = ", ".join(map(str, inputs.seeds))
  each = "Each stage trained here" if inputs.given else "Each stage"
  if len(inputs.seeds) == 1:
    return [f"{each} was trained once, with seed {names}."]
  return [f"{each} was trained with {len(inputs.seeds)} seeds ({names})."]


def value_text(value: Any) -> str:
  """A setting as text: no more digits than needed."""
  if isinstance(value, float):
    return f"{value:g}"
  if isinstance(value, Iterable) and not isinstance(value, str):
    return "x".join(map(str, value))
  return str(value)


def _share(value: float) -> str:
  return wording.percent(value)
