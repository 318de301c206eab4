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
class Setting:
  """The settings that all stages of a run share.

  Attributes:
    config: the experiment.
    acquisitions: how slices of each shape are measured.
    devices: from `parallel.choose_devices`.
    seed: seed of the data order.
    signal: requests a stop.
    label: precedes the stage's name in messages.
    row: line of the progress bar, where several are shown.
  """

  config: ExperimentConfig
  acquisitions: Mapping[Shape, Acquisition]
  devices: Sequence[jax.Device]
  seed: int
  signal: Interrupt
  label: str
  row: int


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage, ready to run.

  Attributes:
    name: its key in the config.
    config: its settings.
    networks: its networks and terms.
    params: its initial weights.
    train: the training slices, with their tasks, in parts of one shape each.
    validation: the slices for the choice of the best weights.
    teacher_params: the weights of each frozen teacher.
    directory: where checkpoints and logs go.
  """

  name: str
  config: StageConfig
  networks: Networks
  params: Any
  train: tuple[Slices, ...]
  validation: tuple[Slices, ...]
  teacher_params: Sequence[Any]
  directory: pathlib.Path
