"""A finished stage, ready to be used: `load` gives its network and weights."""

import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from kdmri_jax import config as config_lib
from kdmri_jax import models
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.errors import UserError
from kdmri_jax.physics import masks
from kdmri_jax.training.checkpoint import Checkpoints
from kdmri_jax.training.workdir import WorkDir
from kdmri_jax.types import Measurement


class Trained(NamedTuple):
  """A network with its best weights.

  Attributes:
    config: the experiment it comes from.
    model: apply it as `model.apply({"params": params}, zero_filled, measurement)`.
    params: its best weights.
    mask: the experiment's mask for the slice shape asked for, uint8 [H, W].
  """

  config: ExperimentConfig
  model: nn.Module
  params: Any
  mask: np.ndarray


def read_config(workdir: pathlib.Path) -> ExperimentConfig:
  """The config that a run wrote into its work directory.

  Raises:
    UserError: there is none, or it cannot be read.
  """
  path = workdir / "config.json"
  try:
    return config_lib.parse(json.loads(path.read_text()))
  except (OSError, ValueError) as error:
    raise UserError(
      path,
      f"no readable config ({error})",
      "the work directory of a run",
      "Name the --workdir that scripts/run.py wrote.",
    ) from error


def load(
  workdir: pathlib.Path,
  stage: str,
  mask_shape: tuple[int, int],
  mask=None,
  seed: int | None = None,
) -> Trained:
  """Reads a finished stage.

  Args:
    workdir: the run's work directory.
    stage: "teacher", "student", "kd", ...
    mask_shape: rows and columns of the slices to reconstruct.
    mask: their mask [H, W]; None makes the experiment's own for that shape.
    seed: seed of the training; None takes the experiment's first.

  Raises:
    UserError: no such run, stage or seed, or the mask cannot be made for that shape.
  """
  config = read_config(workdir)
  folder = WorkDir(workdir, config.seed if seed is None else seed)
  directory = folder.stage(stage) / "checkpoints"
  seeds = folder.seeds(stage) if stage in config.stages else []
  if seeds and not directory.is_dir():
    raise UserError(
      directory,
      f"no stage {stage!r} trained with this seed",
      f"one of the seeds {', '.join(map(str, seeds))}",
      "Name one of them with --seed.",
    )
  if not seeds:
    raise UserError(
      directory,
      f"no trained stage {stage!r}",
      f"one of the trained ones out of {', '.join(config.pipeline)}",
      "Train it with scripts/run.py, or name another --stage.",
    )
  mask = masks.build(config.mask, mask_shape) if mask is None else mask
  name = config.stages[stage].model
  model = models.build(config.models[name], mask, f"config.models.{name}")
  shapes = jax.eval_shape(lambda: _initialise(model, mask.shape))
  checkpoints = Checkpoints(directory, read_only=True)
  progress = checkpoints.progress()
  if progress is None or not progress.finished:
    raise UserError(
      directory,
      "a stage that is not finished",
      "one trained to its last epoch",
      "Start the command of its run again to finish it.",
    )
  params = checkpoints.best(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))
  checkpoints.close()
  return Trained(config, model, params, mask)


def _initialise(model: nn.Module, shape: tuple[int, int]):
  image = jnp.zeros((1, *shape, models.channels(model)))
  measurement = Measurement(jnp.zeros((1, *shape), jnp.complex64), jnp.ones(shape))
  return model.init(jax.random.key(0), image, measurement)["params"]
