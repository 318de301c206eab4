"""The inputs of a stage's training."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from kdmri_jax.config import StageConfig
from kdmri_jax.training.interrupt import Interrupt
from kdmri_jax.training.stage_networks import Networks
from kdmri_jax.types import Acquisition, Shape, Slices


@dataclasses.dataclass(frozen=True)
class Setting:
  """The settings that all stages of a run share.

  Attributes:
    acquisitions: how slices of each shape are measured.
    devices: from `parallel.choose_devices`.
    batch_size: slices per step, over all devices.
    seed: seed of the data order.
    steps_per_dispatch: as in the config.
    teacher_cache_mb: memory for a frozen teacher's outputs.
    teacher_cache_type: their type in memory.
    checkpoint_seconds: shortest time between two checkpoints.
    audit_every: steps between two audits of the terms; 0 for none.
    signal: requests a stop.
    label: precedes the stage's name in messages.
    row: line of the progress bar, where several are shown.
  """

  acquisitions: Mapping[Shape, Acquisition]
  devices: Sequence[jax.Device]
  batch_size: int
  seed: int
  steps_per_dispatch: int
  teacher_cache_mb: int
  teacher_cache_type: str
  checkpoint_seconds: float
  audit_every: int
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
