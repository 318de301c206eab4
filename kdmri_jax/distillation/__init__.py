"""Distillation methods; `METHODS` names them for configs, a line each.

`METHODS[name][variant]` is a `method.Method`.
"""

from kdmri_jax.distillation import attention_transfer, imitation

METHODS = {
  "attention_transfer": attention_transfer.VARIANTS,
  "imitation": imitation.VARIANTS,
}
