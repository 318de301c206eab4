"""The whole pipeline in minutes on a laptop.

  kdmri run --config=demo --workdir=runs/demo

One real head (the MNI152 template that nilearn ships) or, without nilearn, brain
phantoms; 4x undersampling; a short training. It tests the whole pipeline; it does not
measure how well distillation generalises.
"""

import importlib.util

from kdmri_jax.experiments import base


def get_config(protocol="paper"):
  """About 5 minutes on two CPU cores."""
  config = base.get_config(protocol)
  config.name = "Demo: knowledge distillation on one head"
  if importlib.util.find_spec("nilearn"):
    config.data.source = "mni152"
    config.data.crop = (112, 96)
  else:
    config.data.phantom.update(family="brain", subjects=24, slices=4, size=(112, 96))
  config.data.validation_fraction = 0.3
  config.mask.centre_lines = 8
  config.batch_size = 2
  base.short_schedule(config, epochs=32)
  return config
