"""The settings of an experiment.

An experiment file in `experiments/` returns an `ml_collections.ConfigDict`;
`parse` turns it into the frozen dataclasses of `schema`, where each key has its
default and its limits. A key that is unknown or of another type is an error, so a
misspelt setting cannot be ignored.
"""

from kdmri_jax.config.data import (
  AugmentConfig,
  DataConfig,
  InputsConfig,
  PhantomConfig,
)
from kdmri_jax.config.describe import is_free, reference
from kdmri_jax.config.measurement import (
  CoilsConfig,
  MaskConfig,
  NoiseConfig,
  TaskConfig,
)
from kdmri_jax.config.parse import (
  complete,
  defaults,
  flat,
  parse,
  to_dict,
  with_defaults,
)
from kdmri_jax.config.places import last_part, without_folders
from kdmri_jax.config.schema import ExperimentConfig, ModelConfig
from kdmri_jax.config.stage import StageConfig, TermConfig

__all__ = [
  "AugmentConfig",
  "CoilsConfig",
  "DataConfig",
  "ExperimentConfig",
  "InputsConfig",
  "MaskConfig",
  "ModelConfig",
  "NoiseConfig",
  "PhantomConfig",
  "StageConfig",
  "TaskConfig",
  "TermConfig",
  "complete",
  "defaults",
  "flat",
  "is_free",
  "last_part",
  "parse",
  "reference",
  "to_dict",
  "with_defaults",
  "without_folders",
]
