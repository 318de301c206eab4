"""A finished stage, ready to be used: `load` gives its network and weights."""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig, TaskConfig
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.physics.acquisition import build
from kdmri_jax.training import fingerprint
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.workdir import WorkDir, read_config, read_data
from kdmri_jax.types import Acquisition, Measurement, Shape


class Trained(NamedTuple):
  """A network with its best weights.

  Attributes:
    config: the experiment it comes from.
    model: apply it as `model.apply({"params": params}, zero_filled, measurement)`.
    params: its best weights.
    acquisition: how the slices asked for are measured, NumPy arrays of one task.
  """

  config: ExperimentConfig
  model: nn.Module
  params: Any
  acquisition: Acquisition


def read_shapes(workdir: pathlib.Path) -> list[Shape]:
  """Rows and columns of the slices that a run was made with.

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
    task: which of the experiment's tasks that is; "" for the first.
    seed: seed of the training; None takes the experiment's first.

  Raises:
    UserError: no such run, stage, seed or task, or the mask cannot be made for that
      size.
  """
  config = of_task(read_config(workdir), task)
  folder = WorkDir(workdir, config.seed if seed is None else seed)
  trained = StageFolder(folder.stage(stage))
  seeds = folder.seeds(stage) if stage in config.stages else []
  if seeds and not trained.checkpoints.is_dir():
    raise UserError(
      trained.path,
      f"no stage {stage!r} trained with this seed",
      f"one of the seeds {', '.join(map(str, seeds))}",
      "Name one of them with --seed.",
    )
  if not seeds:
    raise UserError(
      trained.path,
      f"no trained stage {stage!r}",
      f"one of the trained ones out of {', '.join(config.pipeline)}",
      "Train it with `kdmri run`, or name another --stage.",
    )
  if acquisition is None:
    with arguments_of("config."):
      acquisition = build({"": TaskConfig(config.mask, config.noise)}, size)
  name = config.stages[stage].model
  with arguments_of(f"config.models.{name}."):
    model = models.build(config.models[name], acquisition.masks)
  shapes = jax.eval_shape(lambda: _initialise(model, size))
  if not trained.is_finished():
    raise UserError(
      trained.path,
      "a stage that is not finished",
      "one trained to its last epoch",
      "Start the command of its run again to finish it.",
    )
  trained.check(
    fingerprint.describe(config, read_data(workdir), folder.seed, stage, folder.digest)
  )
  return Trained(config, model, trained.weights(shapes), acquisition)


def of_task(config: ExperimentConfig, task: str) -> ExperimentConfig:
  """What concerns a task of the experiment, "" for the first.

  Raises:
    UserError: there is no such task.
  """
  known = list(config.all_tasks)
  if task and task not in known:
    found, expected = (
      f"{task!r}",
      f"one of {', '.join(filter(None, known)) or '(none)'}",
    )
    raise UserError("--task", found, expected)
  return config.of_task(task or known[0])


def _initialise(model: nn.Module, shape: tuple[int, int]):
  image = jnp.zeros((1, *shape, models.channels(model)))
  measurement = Measurement(jnp.zeros((1, *shape), jnp.complex64), jnp.ones(shape))
  return model.init(jax.random.key(0), image, measurement)["params"]
