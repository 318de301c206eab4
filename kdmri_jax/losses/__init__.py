"""Losses against the target; `PIXEL_LOSSES` names them for configs.

`PERCEPTUAL` needs a file of weights: see `losses.perceptual`.
"""

from kdmri_jax.losses.pixel import l1, mse
from kdmri_jax.losses.ssim import ssim

__all__ = ["l1", "mse", "ssim"]

PERCEPTUAL = "perceptual"

PIXEL_LOSSES = {"l1": l1, "mse": mse, "ssim": ssim}
