"""Loads the network and the best weights of a finished stage.

A pretrained network stands for a run with one finished stage: where a function takes a
work directory, "pretrained:NAME" names it.
"""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig, TaskConfig
from kdmri_jax.errors import ArgumentError, UserError, arguments_of
from kdmri_jax.io.numpy_files import read_npy
from kdmri_jax.lookup import unknown
from kdmri_jax.models import contract
from kdmri_jax.physics.acquisition import build
from kdmri_jax.physics.masks import files
from kdmri_jax.pretrained import Card, store
from kdmri_jax.training import workdir as workdir_lib
from kdmri_jax.training.given import find
from kdmri_jax.training.given_stage import GivenImages
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.workdir import WorkDir
from kdmri_jax.types import Acquisition, Shape


class Trained(NamedTuple):
  """A network with its best weights.

  Attributes:
    config: its experiment.
    model: apply it as `model.apply({"params": params}, zero_filled, measurement)`.
    params: its best weights.
    acquisition: of the slices to reconstruct, NumPy arrays of the task or of all.
  """

  config: ExperimentConfig
  model: nn.Module
  params: Any
  acquisition: Acquisition


def card_of(workdir: pathlib.Path) -> Card | None:
  """The card of a pretrained network; None for a work directory.

  Raises:
    ArgumentError: there is no network of that name.
    UserError: its files are damaged.
  """
  name = store.named(workdir)
  if not name:
    return None
  try:
    return store.read(name).card
  except ArgumentError as error:
    found, remedy = f"'{workdir}'", error.remedy
    raise ArgumentError("workdir", found, error.expected, remedy) from error


def read_config(workdir: pathlib.Path) -> ExperimentConfig:
  """The experiment of a run.

  Raises:
    ArgumentError, UserError: there is none, or it cannot be read.
  """
  card = card_of(workdir)
  return card.experiment if card else workdir_lib.read_config(workdir)


def read_data(workdir: pathlib.Path) -> Mapping[str, Any]:
  """The record of the data of a run; errors as `read_config`."""
  card = card_of(workdir)
  return card.data if card else workdir_lib.read_data(workdir)


def choose_stage(
  workdir: pathlib.Path, stage: str | None, seed: int | None, default: str = "kd"
) -> str:
  """The stage to load: the only one of a pretrained network.

  Args:
    workdir: the run's work directory.
    stage: as the user named it; None where not.
    seed: likewise.
    default: the stage of a run where none is named.

  Raises:
    ArgumentError: a stage or a seed is named beside a pretrained network.
  """
  card = card_of(workdir)
  if card is None:
    return default if stage is None else stage
  for name, value in (("stage", stage), ("seed", seed)):
    if value is not None:
      found = f"{value!r} beside the pretrained network {card.name}"
      raise ArgumentError(name, found, "none: it is one network", "Omit it.")
  return card.stage


def read_shapes(workdir: pathlib.Path) -> list[Shape]:
  """Rows and columns of the slices of a run.

  Raises:
    UserError: its record of them cannot be read.
  """
  sizes = read_data(workdir)["shapes"]
  return [tuple(map(int, size.split("x"))) for size in sizes]


def stored_mask(workdir: pathlib.Path, task: str) -> np.ndarray | None:
  """The mask of a run whose mask came from a file, which fits one size of slices.

  Args:
    workdir: the run's work directory.
    task: name of its task.

  Returns:
    Mask, uint8 [H, W]; None where the run has not stored it.

  Raises:
    UserError: it is damaged.
  """
  if name := store.named(workdir):
    return store.read(name).mask
  tasks = list(read_config(workdir).all_tasks)
  (names,) = files.names(tasks, read_shapes(workdir)[:1])
  path = workdir / f"{names[tasks.index(task)]}.npy"
  return files.binary(path, read_npy(path)) if path.exists() else None


def load(
  workdir: pathlib.Path,
  stage: str,
  size: tuple[int, int],
  mask: np.ndarray | None = None,
  *,
  task: str | None = "",
  seed: int | None = None,
  precision: str = "",
) -> Trained:
  """Reads a finished stage.

  Args:
    workdir: the run's work directory.
    stage: "teacher", "student", "kd", ...; of a pretrained network its own.
    size: rows and columns of the slices to reconstruct.
    mask: how they were sampled, [H, W]; None takes the experiment's mask.
    task: the experiment's task; "" for the first, None for all of them.
    seed: seed of the training; None takes the experiment's first.
    precision: of its hidden layers, see `models.in_precision`; "" for that of the
      training.

  Raises:
    UserError: no such run, stage, seed, task or precision, or the mask cannot be made
      for that size.
  """
  config = read_config(workdir)
  if task is not None:
    config = of_task(config, task)
  folder = WorkDir(workdir, config.seed if seed is None else seed)
  trained, name = StageFolder(folder.stage(stage)), store.named(workdir)
  plan = config.stages.get(stage)
  if plan is None or not (name or plan.given or trained.checkpoints.is_dir()):
    raise _not_trained(config, stage, folder)
  if precision:
    network = models.in_precision(config.models[plan.model], precision)
    config = dataclasses.replace(config, models={**config.models, plan.model: network})
  kind = config.mask.kind if mask is None else "full"
  recipe = dataclasses.replace(config.mask, kind=kind)
  tasks = {"": TaskConfig(recipe, config.noise)}
  if task is None and mask is None:
    tasks = config.all_tasks
  with arguments_of("config."):
    acquisition = build(tasks, size, config.coils)
  if mask is not None:
    acquisition = acquisition._replace(masks=mask[None])
  with arguments_of(f"config.models.{plan.model}."):
    model = models.build(config.models[plan.model], acquisition.masks)
  if name:
    return Trained(config, model, store.read(name).params, acquisition)
  shapes = contract.parameter_shapes(model, size)
  if plan.given:
    where = f"{workdir / 'config.json'}: stages.{stage}.given"
    given = find(plan.given, where, model)
    trained.give(vars(given.origin(folder.seed)), write=False)
    if isinstance(given, GivenImages):
      raise UserError(where, f"{plan.given!r}, {given.kind}", "a stage with weights")
    return Trained(config, model, given.weights(folder.seed, shapes), acquisition)
  if not trained.is_finished():
    found = "a stage that is not finished"
    remedy = "Repeat the command of its run to finish it."
    raise UserError(trained.path, found, "one trained to its last epoch", remedy)
  params = folder.trained(stage).weights(shapes)
  return Trained(config, model, params, acquisition)


def check_as_is(trained: Trained) -> None:
  """Checks that a network enhances images which are not undersampled first.

  Data consistency keeps what was measured, and of such images all of it is.

  Raises:
    ArgumentError: it has data consistency that replaces k-space (`lam` is inf), or a
      soft one without having been trained on such images.
  """
  model = trained.model
  soft = not math.isinf(getattr(model, "lam", 0.0))
  if not contract.reads_kspace(model) or (soft and trained.config.mask.kind == "full"):
    return
  found = f"images as they are, for a {type(model).__name__}: its data "
  found += "consistency keeps all of an image that is not undersampled"
  expected = "a network without data consistency, or with a soft one that was trained "
  expected += "on fully sampled images"
  remedy = "Without it the images are undersampled first. Or take a network that "
  remedy += "enhances images, such as one that denoises."
  raise ArgumentError("as_is", found, expected, remedy)


def _not_trained(config: ExperimentConfig, stage: str, folder: WorkDir) -> UserError:
  path = folder.stage(stage)
  if seeds := folder.seeds(stage):
    found = f"no stage {stage!r} trained with this seed"
    expected = f"one of the seeds {', '.join(map(str, seeds))}"
    return UserError(path, found, expected, "Name one of these seeds.")
  expected = f"one of the trained ones out of {', '.join(config.pipeline)}"
  remedy = "Train it with `kdmri run`, or name another stage."
  return UserError(path, f"no trained stage {stage!r}", expected, remedy)


def of_task(config: ExperimentConfig, task: str) -> ExperimentConfig:
  """The experiment of one task, "" for the first.

  Raises:
    ArgumentError: there is no such `task`.
  """
  known = list(config.all_tasks)
  if task and task not in known:
    raise unknown("task", task, filter(None, known))
  return config.of_task(task or known[0])
