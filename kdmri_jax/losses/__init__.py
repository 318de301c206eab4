"""Losses against the target; `PIXEL_LOSSES` names them for configs."""

from kdmri_jax.losses import pixel

PIXEL_LOSSES = {
  "l1": pixel.l1,
  "mse": pixel.mse,
}
