"""Given inputs and their targets: VDSR of 11 convolutions teaches one of 7.

  kdmri run --config=pairs --workdir=runs/pairs \
    --config.data.root=/path/to/targets --config.data.inputs.root=/path/to/inputs

Nothing is undersampled and no noise is added. Networks with data consistency would
return such inputs unchanged. `model_based:pairs` and `task_based:pairs` distil EDSR on
the same images.
"""

from kdmri_jax.experiments import base, own


def get_config(losses="paper"):
  config = own.get_config(losses)
  config.name = "Given pairs"
  base.super_resolution(config)
  config.mask.update(kind="full", acceleration=2.0, centre_lines=1)
  config.augment.update(flips=True, rotations=True, patch=(64, 64))
  return config
