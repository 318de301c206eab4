"""Brain T1 images of Calgary-Campinas at 4x, in the data set's own layout.

  kdmri run --config=super_resolution:calgary \
    --workdir=runs/calgary --config.data.root=/path/to/Single-channel

The images: the single-channel part of Calgary-Campinas (Souza et al., NeuroImage 2018),
Train/*.npy and Val/*.npy, which are the split: 25 and 10 subjects, 256x256. Magnitudes,
from which KD-MRI's super-resolution makes its low resolution of 64x64.
"""

from kdmri_jax.experiments import base


def get_config(protocol="paper"):
  config = base.get_config(protocol)
  config.name = f"Calgary-Campinas, 4x, {protocol} losses"
  config.data.update(
    source="calgary_campinas", root="data/Single-channel", combine="rss"
  )
  return config
