"""KD-MRI's super-resolution: VDSR of 11 convolutions teaches one of 7.

  kdmri run --config=super_resolution:brain_t1 \
    --workdir=runs/super_resolution --config.data.root=/path/to/folder

The input is the central 64x64 of 256x256 points of k-space; other factors:
--config.mask.acceleration=2. The argument is "setting" or "setting:protocol": the
experiment file whose images and split are used, and the losses, those of the paper or
of the published code (`reference`). Trained on patches of 64x64, to save time.

The report shows the published numbers for images of Calgary-Campinas at 4x
(super_resolution:calgary).
"""

import importlib

from ml_collections import ConfigDict

from kdmri_jax.experiments import base, study

# PSNR in dB and SSIM of input, teacher, student and distilled student.
PUBLISHED = dict(
  zero_filled=(27.9, 0.8117),
  teacher=(30.14, 0.8659),
  student=(29.87, 0.8596),
  kd=(30.08, 0.8639),
)


def get_config(argument="brain_t1"):
  setting, protocol = study.split(argument)
  config = importlib.import_module(f"kdmri_jax.experiments.{setting}").get_config(
    protocol
  )
  config.name = f"Super-resolution ({config.name})"
  base.super_resolution(config)
  config.epochs = 30
  config.augment.update(flips=True, rotations=True, patch=(64, 64))
  evaluation = config.evaluation
  evaluation.published = ConfigDict(PUBLISHED)
  evaluation.published_source = "Murugesan et al., KD-MRI, its super-resolution"
  evaluation.published_on = ConfigDict(
    dict(
      data=dict(source="calgary_campinas"),
      mask=dict(kind="central", acceleration=4.0),
      evaluation=dict(protocol="kdmri"),
    )
  )
  return config
