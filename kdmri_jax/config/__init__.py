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
  of_any_version,
  parse,
  to_dict,
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
  "of_any_version",
  "parse",
  "reference",
  "to_dict",
  "without_folders",
]
