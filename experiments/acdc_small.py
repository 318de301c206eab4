"""Cardiac images of ACDC at 4x, small enough to repeat with several seeds on a CPU.

  kdmri run --config=shrink:acdc_small --workdir=runs/shrink \
    --config.data.root=/path/to/ACDC --config.seeds=5

As acdc.py with all slices of 96x96 and two per step. Of the 60 patients 42 are for
training, 6 choose weights and recipes, and 12 are for the comparison.
"""

from kdmri_jax.experiments import acdc, base


def get_config(protocol="paper"):
  config = acdc.get_config(protocol)
  config.name = f"ACDC, 4x, {protocol} losses, small"
  config.data.update(
    train=("patient00?", "patient0[1-3]?", "patient04[0-2]"),
    validation=("patient04[3-8]",),
    test=("patient049", "patient05?", "patient060"),
    crop=(96, 96),
    slices_per_volume=0,
  )
  config.batch_size = 2
  base.short_schedule(config, epochs=4)
  return config
