"""The settings of an experiment.

An experiment file in `experiments/` returns an `ml_collections.ConfigDict`;
`parse` turns it into the frozen dataclasses of `schema`. A key that is missing,
unknown or of another type is an error, so a misspelt setting cannot be ignored.
"""

from kdmri_jax.config.data import (
  AugmentConfig,
  DataConfig,
  MaskConfig,
  NoiseConfig,
  PhantomConfig,
  TaskConfig,
)
from kdmri_jax.config.parse import flat, parse, to_dict
from kdmri_jax.config.schema import (
  EvaluationConfig,
  ExperimentConfig,
  ModelConfig,
  StageConfig,
  TermConfig,
)

__all__ = [
  "AugmentConfig",
  "DataConfig",
  "EvaluationConfig",
  "ExperimentConfig",
  "MaskConfig",
  "ModelConfig",
  "NoiseConfig",
  "PhantomConfig",
  "StageConfig",
  "TaskConfig",
  "TermConfig",
  "flat",
  "parse",
  "to_dict",
]
