"""Sampling masks, uint8 [H, W], 1 = sampled, zero frequency at [0, 0].

`cartesian`, `equispaced`, `gaussian2d` and `central` create a mask; `load` and `save`
read and write .npy files.
"""

from kdmri_jax.physics.masks.files import load, save
from kdmri_jax.physics.masks.recipes import (
  cartesian,
  central,
  equispaced,
  full,
  gaussian2d,
)

__all__ = ["cartesian", "central", "equispaced", "full", "gaussian2d", "load", "save"]
