"""Checks that the values of a config are consistent."""

import difflib
import math
import re
from collections.abc import Iterable

from kdmri_jax.config.schema import (
  RESERVED,
  RESERVED_ROWS,
  ZERO_FILLED,
  EvaluationConfig,
  ExperimentConfig,
  StageConfig,
)
from kdmri_jax.errors import UserError


def check(config: ExperimentConfig) -> None:
  """Checks that every name is usable and refers to something.

  Raises:
    UserError: stages, models and terms have unusable names, or refer to some that do
      not exist.
  """
  _check_seeds(config)
  _check_names(config)
  _check_noise(config)
  _check_references(config)


def _check_seeds(config: ExperimentConfig) -> None:
  """`jax.random.key` takes a seed modulo 2**32."""
  if config.seed + config.seeds > 2**32:
    found = f"{config.seed}, the first of {config.seeds} seeds"
    raise UserError("config.seed", found, "seeds below 2**32", "Choose a smaller one.")


def _check_names(config: ExperimentConfig) -> None:
  """Names become folders and keys, and `start_from` joins them by "/"."""
  groups: dict[str, Iterable[str]]
  groups = {"stages": config.stages, "models": config.models, "tasks": config.tasks}
  groups |= {f"stages.{name}.terms": s.terms for name, s in config.stages.items()}
  for group, names in groups.items():
    for name in names:
      if not re.fullmatch(r"\w+", name):
        expected = "a name of letters, digits and _"
        raise UserError(f"config.{group}", f"{name!r}", expected, "Rename it.")
  for name in RESERVED_ROWS:
    if name in config.stages:
      expected = f"a stage called none of {', '.join(RESERVED_ROWS)}"
      raise UserError("config.stages", f"{name!r}", expected, "Rename the stage.")


def _check_references(config: ExperimentConfig):
  done: list[str] = []
  for name in config.pipeline:
    where = f"config.stages.{name}"
    _known(name, config.stages, "config.pipeline", "a stage in config.stages")
    stage = config.stages[name]
    _known(stage.model, config.models, f"{where}.model", "a model in config.models")
    if stage.branches:
      _known(stage.branches, config.models, f"{where}.branches", "a model")
    for task in stage.tasks:
      _known(task, config.tasks, f"{where}.tasks", "a task in config.tasks")
    if stage.teacher:
      _known(stage.teacher, done, f"{where}.teacher", "a stage before this one")
    _check_teachers(config, stage, done, f"{where}.teachers")
    if stage.start_from:
      _check_start(config, stage, done, f"{where}.start_from")
    _check_stage(where, stage)
    done.append(name)
  _check_evaluation(config)


def _check_teachers(config: ExperimentConfig, stage: StageConfig, done, where: str):
  if not stage.teachers:
    return
  if stage.teacher:
    remedy = "Leave `teacher` empty."
    raise UserError(where, "also one teacher for all tasks", "either", remedy)
  for teacher in stage.teachers.values():
    _known(teacher, done, where, "a stage before this one")
  taught = set(stage.tasks or config.tasks)
  if taught != set(stage.teachers):
    raise UserError(
      where,
      f"teachers of the tasks {', '.join(stage.teachers)}",
      f"one for each task of the stage, {', '.join(sorted(taught)) or '(none)'}",
      "Name them all.",
    )


def _check_noise(config: ExperimentConfig):
  groups = {"config.noise": config.noise}
  groups |= {f"config.tasks.{k}.noise": task.noise for k, task in config.tasks.items()}
  for where, noise in groups.items():
    low, high = noise.snr
    if not 0 < low <= high or math.isinf(high) != math.isinf(low):
      raise UserError(
        f"{where}.snr",
        f"{noise.snr}",
        "the lowest and the highest ratio, above 0; (inf, inf) for no noise",
        "Give them in this order.",
      )


def _check_evaluation(config: ExperimentConfig):
  evaluation = config.evaluation
  if not evaluation.models:
    raise UserError("config.evaluation.models", "none", "at least one stage")
  for name in evaluation.models:
    _known(name, config.pipeline, "config.evaluation.models", "a stage in the pipeline")
  for key in ("teacher", "student"):
    where = f"config.evaluation.{key}"
    _known(getattr(evaluation, key), config.stages, where, "a stage")
  if evaluation.teacher == evaluation.student:
    found = f"{evaluation.student!r}, the teacher, too"
    raise UserError(where, found, "another stage", "Name the unassisted student.")
  for task, name in evaluation.teachers.items():
    where = "config.evaluation.teachers"
    _known(task, config.tasks, where, "a task in config.tasks")
    _known(name, evaluation.models, where, "a stage in config.evaluation.models")
  for name in evaluation.distilled:
    _known(name, config.stages, "config.evaluation.distilled", "a stage")
  if evaluation.control:
    what = "a stage in config.evaluation.models"
    _known(evaluation.control, evaluation.models, "config.evaluation.control", what)
  for pair in evaluation.pairs:
    _check_pair(evaluation, pair)
  _check_published(evaluation)


def _check_pair(evaluation: EvaluationConfig, pair: tuple[str, str]):
  where = "config.evaluation.pairs"
  for name in pair:
    _known(name, evaluation.models, where, "a stage in config.evaluation.models")
  if pair[0] == pair[1]:
    found = f"{pair[0]!r} twice"
    raise UserError(where, found, "two stages to compare", "Name another stage.")


def _check_published(evaluation: EvaluationConfig):
  where = "config.evaluation.published"
  rows = (ZERO_FILLED, *evaluation.models)
  for name, numbers in evaluation.published.items():
    _known(name, rows, where, "a row of the table")
    psnr, ssim = (*numbers, 0.0, 0.0)[:2]
    if len(numbers) not in (1, 2) or not (math.isfinite(psnr) and -1 <= ssim <= 1):
      raise UserError(
        f"{where}.{name}",
        f"{numbers}",
        "a finite PSNR in dB, and an SSIM between -1 and 1 where there is one",
        "Give them in this order.",
      )
  if evaluation.published and not evaluation.published_source:
    raise UserError(
      "config.evaluation.published_source",
      "none",
      "the source of the published numbers",
      "Name the publication and its table.",
    )


def _check_start(config: ExperimentConfig, stage: StageConfig, done, where: str):
  name, _, part = stage.start_from.partition("/")
  choices = [*done, *(f"{n}/branches" for n in done if config.stages[n].branches)]
  _known(stage.start_from, choices, where, "a stage before this one")
  model = config.stages[name].branches if part else config.stages[name].model
  if model != stage.model:
    raise UserError(
      where,
      f"{stage.start_from!r}, a stage of another model",
      f"a stage of the model {stage.model!r}",
      "Start from one of those, or from none.",
    )


def _check_stage(where: str, stage: StageConfig):
  if not any(term.weight for term in stage.terms.values()):
    raise UserError(
      f"{where}.terms", "no term with a weight", "at least one", "Give a term a weight."
    )
  _known(
    stage.select, ["mse", "l1", "loss", *stage.terms], f"{where}.select", "a quantity"
  )
  for name, term in stage.terms.items():
    if name in RESERVED:
      raise UserError(
        f"{where}.terms.{name}",
        "a name that the log reserves",
        f"a term called none of {', '.join(RESERVED)}",
        "Rename the term.",
      )
    if len(term.hint) > 1 and len(term.guided) != len(term.hint):
      raise UserError(
        f"{where}.terms.{name}",
        f"{len(term.guided)} guided and {len(term.hint)} hint layers",
        "as many guided layers as hint layers",
        "Name one teacher layer for each student layer.",
      )


def _known(name, names, where, what):
  if name not in names:
    expected = f"{what} ({', '.join(names) or 'none'})"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else ""
    raise UserError(where, f"{name!r}", expected, hint)
