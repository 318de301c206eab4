"""Image quality: how close a reconstruction is to its target.

The functions take a fully sampled magnitude image and its reconstruction, both [H, W]
or [S, H, W], of about 0..1. `METRICS` lists them by name, as `Metric` records;
`OPTIONAL` those that are measured only where they are asked for.
"""

from kdmri_jax.metrics import roi_snr
from kdmri_jax.metrics.high_frequency import hfen, hfn
from kdmri_jax.metrics.metric import Metric
from kdmri_jax.metrics.squared_error import mse, nmse, psnr
from kdmri_jax.metrics.structural_similarity import ssim
from kdmri_jax.metrics.table import METRICS, OPTIONAL, all, per_slice, resolve
from kdmri_jax.metrics.visual_information import vif

__all__ = [
  "METRICS",
  "OPTIONAL",
  "Metric",
  "all",
  "hfen",
  "hfn",
  "mse",
  "nmse",
  "per_slice",
  "psnr",
  "resolve",
  "roi_snr",
  "ssim",
  "vif",
]
