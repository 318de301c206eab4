"""Cardiac images of ACDC at 4x, small enough to repeat with several seeds on a CPU.

  kdmri run --config=sft:acdc_small --workdir=runs/sft \
    --config.data.root=/path/to/ACDC --config.seeds=3

As acdc.py with 24 training patients, 12 for the comparison, 96x96 and 6 epochs per
stage.
"""

from kdmri_jax.experiments import acdc, base


def get_config(protocol="paper"):
  config = acdc.get_config(protocol)
  config.name = f"ACDC, 4x, {protocol} losses, small"
  config.data.train = ("patient00?", "patient01?", "patient02[0-4]")
  config.data.crop = (96, 96)
  base.short_schedule(config, epochs=6)
  return config
