"""Reconstruction networks, and how a config becomes one."""

from flax import linen as nn

from kdmri_jax.config import ModelConfig
from kdmri_jax.errors import UserError
from kdmri_jax.models.dccnn import DCCNN, VARIANTS
from kdmri_jax.physics import consistency


def build(config: ModelConfig, mask, where: str) -> nn.Module:
  """The network of a config, its data consistency in the fastest form for the mask.

  Args:
    config: its settings.
    mask: the concrete mask [H, W] it will be used with.
    where: the config's key, for errors, such as "config.models.student".

  Raises:
    UserError: an unknown variant, or a form that does not fit the mask.
  """
  if config.variant not in VARIANTS:
    known = ", ".join(VARIANTS)
    raise UserError(
      f"{where}.variant", f"{config.variant!r}", f"one of {known}", "Correct it."
    )
  return DCCNN(
    cascades=config.cascades,
    convolutions=config.convolutions,
    features=config.features,
    channels=config.channels,
    variant=config.variant,
    lam=config.lam,
    consistency=consistency.resolve_form(config.consistency, mask, config.channels),
    padding=config.padding,
  )
