"""Checks that the values of a config are consistent."""

import itertools
import math
import re
from collections.abc import Iterable, Sequence

from kdmri_jax.config import starting
from kdmri_jax.config.schema import (
  RESERVED_ROWS,
  ZERO_FILLED,
  EvaluationConfig,
  ExperimentConfig,
)
from kdmri_jax.config.stage import RESERVED, StageConfig
from kdmri_jax.errors import UserError
from kdmri_jax.lookup import suggestion


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
  groups: list[tuple[str, Iterable[str], Sequence[str]]]
  groups = [("stages", config.stages, RESERVED_ROWS), ("models", config.models, ())]
  groups += [("tasks", config.tasks, ())]
  groups += [(f"stages.{k}.terms", s.terms, RESERVED) for k, s in config.stages.items()]
  for group, names, reserved in groups:
    for name in names:
      if not re.fullmatch(r"\w+", name) or name in reserved:
        expected = "a name of letters, digits and _"
        if reserved:
          expected += f", none of {', '.join(reserved)}"
        raise UserError(f"config.{group}", f"{name!r}", expected, "Rename it.")


def _check_references(config: ExperimentConfig):
  done: list[str] = []
  for name in config.pipeline:
    where = f"config.stages.{name}"
    _known(name, config.stages, "config.pipeline", "a stage in config.stages")
    stage = config.stages[name]
    for key, names, known, what in (
      ("model", [stage.model], config.models, "a model in config.models"),
      ("branches", [stage.branches], ["", *config.models], "a model"),
      ("tasks", stage.tasks, config.tasks, "a task in config.tasks"),
    ):
      for each in names:
        _known(each, known, f"{where}.{key}", what)
    _check_teachers(config, stage, done, where)
    if stage.start_from:
      _check_start(config, stage, done, f"{where}.start_from")
    _check_stage(where, stage)
    done.append(name)
  _check_evaluation(config)


def _check_teachers(config: ExperimentConfig, stage: StageConfig, done, where: str):
  groups = [("teacher", stage.teacher)] if stage.teacher else []
  groups += [("teachers", names) for names in stage.teachers.values()]
  for key, names in groups:
    teachers = names.split(",")
    for name in teachers:
      _known(name, done, f"{where}.{key}", "a stage before this one")
    for first, second in itertools.combinations(dict.fromkeys(teachers), 2):
      if config.stages[first] == config.stages[second]:
        found = f"{first} and {second}, of equal settings, so of equal weights"
        remedy = (
          "Give one of them a model of another name: it starts from other weights."
        )
        raise UserError(f"{where}.{key}", found, "teachers that differ", remedy)
  if not stage.teachers:
    return
  if stage.teacher:
    remedy = "Leave `teacher` empty."
    found = "also one teacher for all tasks"
    raise UserError(f"{where}.teachers", found, "either", remedy)
  taught = set(stage.tasks or config.tasks)
  if taught != set(stage.teachers):
    found = f"teachers of the tasks {', '.join(stage.teachers)}"
    tasks = ", ".join(sorted(taught)) or "(none)"
    expected = f"one for each task of the stage, {tasks}"
    raise UserError(f"{where}.teachers", found, expected)


def _check_noise(config: ExperimentConfig):
  groups = {"config.noise": config.noise}
  groups |= {f"config.tasks.{k}.noise": task.noise for k, task in config.tasks.items()}
  for where, noise in groups.items():
    low, high = noise.snr
    if not 0 < low <= high or math.isinf(high) != math.isinf(low):
      expected = "lowest and highest ratio, above 0, in this order; (inf, inf) for none"
      raise UserError(f"{where}.snr", f"{noise.snr}", expected)


def _check_evaluation(config: ExperimentConfig):
  evaluation, where = config.evaluation, "config.evaluation"
  models, compared = evaluation.models, "a stage in config.evaluation.models"
  if not models:
    raise UserError(f"{where}.models", "none", "at least one stage")
  for key, names, known, what in (
    ("models", models, config.pipeline, "a stage in the pipeline"),
    ("teacher", [evaluation.teacher], config.stages, "a stage"),
    ("student", [evaluation.student], config.stages, "a stage"),
    ("teachers", evaluation.teachers, config.tasks, "a task in config.tasks"),
    ("teachers", evaluation.teachers.values(), models, compared),
    ("distilled", evaluation.distilled, config.stages, "a stage"),
    ("control", [evaluation.control], ["", *models], compared),
    ("pairs", itertools.chain(*evaluation.pairs), models, compared),
    ("published", evaluation.published, (ZERO_FILLED, *models), "a row of the table"),
    ("published_seconds", evaluation.published_seconds, models, "a row of the table"),
  ):
    for name in names:
      _known(name, known, f"{where}.{key}", what)
  if evaluation.teacher == evaluation.student:
    found = f"{evaluation.student!r}, the teacher, too"
    raise UserError(
      f"{where}.student", found, "another stage", "Name the unassisted student."
    )
  for first, second in evaluation.pairs:
    if first == second:
      found = f"{first!r} twice"
      raise UserError(f"{where}.pairs", found, "two stages", "Name another stage.")
  _check_published(evaluation)


def _check_published(evaluation: EvaluationConfig):
  where = "config.evaluation.published"
  for name, numbers in evaluation.published.items():
    psnr, ssim = (*numbers, 0.0, 0.0)[:2]
    if len(numbers) not in (1, 2) or not (math.isfinite(psnr) and -1 <= ssim <= 1):
      expected = "a finite PSNR in dB, then an SSIM from -1 to 1 where there is one"
      raise UserError(f"{where}.{name}", f"{numbers}", expected)
  for name, seconds in evaluation.published_seconds.items():
    if not 0 < seconds < math.inf:
      expected = "a finite time above 0"
      raise UserError(f"{where}_seconds.{name}", f"{seconds}", expected)
  given = evaluation.published or evaluation.published_seconds
  if given and not evaluation.published_source:
    expected = "the publication of the numbers, and its table"
    raise UserError("config.evaluation.published_source", "none", expected)


def _check_start(config: ExperimentConfig, stage: StageConfig, done, where: str):
  name, part = starting.parts(stage.start_from)
  if name.startswith(starting.PRETRAINED):
    return
  choices = [*done, *(f"{n}/branches" for n in done if config.stages[n].branches)]
  choices += [f"{n}/layers" for n in done]
  expected = f"a stage before this one, {starting.PRETRAINED}NAME"
  _known(stage.start_from, choices, where, expected)
  if part == "layers":
    return  # the networks are compared when they are built
  model = config.stages[name].branches if part else config.stages[name].model
  if model != stage.model:
    found = f"{stage.start_from!r}, a stage of another model"
    raise UserError(where, found, f"a stage of the model {stage.model!r}, or ''")


def _check_stage(where: str, stage: StageConfig):
  if not any(term.weight for term in stage.terms.values()):
    raise UserError(f"{where}.terms", "no term with a weight", "at least one")
  selectable = ["mse", "l1", "loss", *stage.terms]
  _known(stage.select, selectable, f"{where}.select", "a quantity")
  for name, term in stage.terms.items():
    if len(term.hint) > 1 and len(term.guided) != len(term.hint):
      found = f"{len(term.guided)} guided and {len(term.hint)} hint layers"
      expected = "one hint layer for each guided layer, or one for all"
      raise UserError(f"{where}.terms.{name}", found, expected)


def _known(name, names, where, what):
  if name not in names:
    expected = f"{what} ({', '.join(filter(None, names)) or 'none'})"
    raise UserError(where, f"{name!r}", expected, suggestion(name, names))
