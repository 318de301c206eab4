"""Losses against the target; `PIXEL_LOSSES` names them for configs.

One more, `PERCEPTUAL`, needs a file of weights: see `losses.perceptual`.
"""

from kdmri_jax.losses import pixel
from kdmri_jax.losses.ssim import ssim

PERCEPTUAL = "perceptual"

PIXEL_LOSSES = {
  "l1": pixel.l1,
  "mse": pixel.mse,
  "ssim": ssim,
}
