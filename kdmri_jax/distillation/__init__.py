"""Distillation methods; `METHODS` names them for configs, a line each.

`METHODS[name][variant]` is a `method.Method`.
"""

from kdmri_jax.distillation import (
  activation_boundary,
  attention_transfer,
  factor_transfer,
  fitnets,
  imitation,
  masked_generative,
  review,
  vid,
)

METHODS = {
  "attention_transfer": attention_transfer.VARIANTS,
  "imitation": imitation.VARIANTS,
  "fitnets": fitnets.VARIANTS,
  "vid": vid.VARIANTS,
  "activation_boundary": activation_boundary.VARIANTS,
  "factor_transfer": factor_transfer.VARIANTS,
  "masked_generative": masked_generative.VARIANTS,
  "review": review.VARIANTS,
}
