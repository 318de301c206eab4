"""KD-MRI's super-resolution: VDSR of 11 convolutions teaches one of 7.

  kdmri run --config=super_resolution:brain_t1 \
    --workdir=runs/super_resolution --config.data.root=/path/to/folder

The input is the central 64x64 of 256x256 points of k-space; other factors:
--config.mask.acceleration=2. The argument is "setting" or "setting:protocol": the
experiment file whose images and split are used, and the losses, those of the paper or
of the published code (`reference`). Trained on patches of 64x64, to save time.
"""

import importlib

from kdmri_jax.experiments import base, study


def get_config(argument="brain_t1"):
  setting, protocol = study.split(argument)
  config = importlib.import_module(f"kdmri_jax.experiments.{setting}").get_config(
    protocol
  )
  config.name = f"Super-resolution ({config.name})"
  base.super_resolution(config)
  config.epochs = 30
  config.augment.update(flips=True, rotations=True, patch=(64, 64))
  return config
