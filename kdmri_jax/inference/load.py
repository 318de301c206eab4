"""Loads the network and the best weights of a finished stage."""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig, TaskConfig
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.lookup import unknown
from kdmri_jax.physics.acquisition import build
from kdmri_jax.training.given import find
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.workdir import WorkDir, read_config, read_data
from kdmri_jax.types import Acquisition, Measurement, Shape


class Trained(NamedTuple):
  """A network with its best weights.

  Attributes:
    config: its experiment.
    model: apply it as `model.apply({"params": params}, zero_filled, measurement)`.
    params: its best weights.
    acquisition: of the slices to reconstruct, NumPy arrays of one task.
  """

  config: ExperimentConfig
  model: nn.Module
  params: Any
  acquisition: Acquisition


def read_shapes(workdir: pathlib.Path) -> list[Shape]:
  """Rows and columns of the slices of a run.

  Raises:
    UserError: its record of them cannot be read.
  """
  sizes = read_data(workdir)["shapes"]
  return [tuple(map(int, size.split("x"))) for size in sizes]


def load(
  workdir: pathlib.Path,
  stage: str,
  size: tuple[int, int],
  acquisition: Acquisition | None = None,
  *,
  task: str = "",
  seed: int | None = None,
) -> Trained:
  """Reads a finished stage.

  Args:
    workdir: the run's work directory.
    stage: "teacher", "student", "kd", ...
    size: rows and columns of the slices to reconstruct.
    acquisition: how they were measured; None takes the experiment's own.
    task: the experiment's task; "" for the first.
    seed: seed of the training; None takes the experiment's first.

  Raises:
    UserError: no such run, stage, seed or task, or the mask cannot be made for that
      size.
  """
  config = of_task(read_config(workdir), task)
  folder = WorkDir(workdir, config.seed if seed is None else seed)
  if stage not in config.stages:
    raise _not_trained(config, stage, folder)
  if acquisition is None:
    with arguments_of("config."):
      acquisition = build({"": TaskConfig(config.mask, config.noise)}, size)
  name, given = config.stages[stage].model, config.stages[stage].given
  with arguments_of(f"config.models.{name}."):
    model = models.build(config.models[name], acquisition.masks)
  shapes = jax.eval_shape(lambda: _initialise(model, size))
  if given:
    params = _given_weights(given, folder, stage, model, shapes)
  else:
    params = _weights(config, folder, stage, shapes)
  return Trained(config, model, params, acquisition)


def _weights(config: ExperimentConfig, folder: WorkDir, stage: str, shapes: Any) -> Any:
  """The weights of a stage that the run has trained."""
  trained = StageFolder(folder.stage(stage))
  if not trained.checkpoints.is_dir():
    raise _not_trained(config, stage, folder)
  if not trained.is_finished():
    found = "a stage that is not finished"
    remedy = "Repeat the command of its run to finish it."
    raise UserError(trained.path, found, "one trained to its last epoch", remedy)
  return folder.trained(stage).weights(shapes)


def _given_weights(text: str, folder: WorkDir, stage: str, model, shapes: Any) -> Any:
  """The weights of a stage that was given to the run."""
  where = f"{folder.path / 'config.json'}: stages.{stage}.given"
  given = find(text, where, model)
  StageFolder(folder.stage(stage)).give(vars(given.origin(folder.seed)), write=False)
  if params := given.weights(folder.seed, shapes):
    return params
  raise UserError(where, f"{text!r}, a folder of outputs", "a stage with weights")


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


def _initialise(model: nn.Module, shape: tuple[int, int]):
  image = jnp.zeros((1, *shape, models.channels(model)))
  measurement = Measurement(jnp.zeros((1, *shape), jnp.complex64), jnp.ones(shape))
  return model.init(jax.random.key(0), image, measurement)["params"]
