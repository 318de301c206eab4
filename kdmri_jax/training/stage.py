"""The inputs of a stage's training."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from kdmri_jax.config import ExperimentConfig, StageConfig
from kdmri_jax.training.interrupt import Interrupt
from kdmri_jax.training.stage_networks import Networks
from kdmri_jax.types import Acquisition, Shape, Slices


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage, ready to run.

  Attributes:
    name: its key in the config.
    config: its settings.
    experiment: the settings of the whole experiment.
    networks: its networks and terms, and the seed.
    params: its initial weights.
    train: the training slices, with their tasks, in parts of one shape each.
    validation: the slices for the choice of the best weights.
    teacher_params: the weights of each frozen teacher.
    acquisitions: how slices of each shape are measured.
    devices: from `parallel.choose_devices`.
    directory: where checkpoints and logs go.
    signal: requests a stop.
  """

  name: str
  config: StageConfig
  experiment: ExperimentConfig
  networks: Networks
  params: Any
  train: tuple[Slices, ...]
  validation: tuple[Slices, ...]
  teacher_params: Sequence[Any]
  acquisitions: Mapping[Shape, Acquisition]
  devices: Sequence[jax.Device]
  directory: pathlib.Path
  signal: Interrupt
