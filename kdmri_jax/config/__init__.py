"""The settings of an experiment.

An experiment file in `experiments/` returns an `ml_collections.ConfigDict`;
`parse` turns it into the frozen dataclasses of `schema`. A key that is missing,
unknown or of another type is an error, so a misspelt setting cannot be ignored.
"""

from kdmri_jax.config.parse import flat, parse, to_dict
from kdmri_jax.config.schema import (
  DataConfig,
  EvaluationConfig,
  ExperimentConfig,
  MaskConfig,
  ModelConfig,
  PhantomConfig,
  StageConfig,
  TermConfig,
)

__all__ = [
  "DataConfig",
  "EvaluationConfig",
  "ExperimentConfig",
  "MaskConfig",
  "ModelConfig",
  "PhantomConfig",
  "StageConfig",
  "TermConfig",
  "flat",
  "parse",
  "to_dict",
]
