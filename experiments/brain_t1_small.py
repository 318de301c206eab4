"""Brain T1 images at 4x, small enough to repeat with several seeds on a CPU.

  kdmri run --config=recipes:brain_t1_small \
    --workdir=runs/recipes_brain --config.data.root=/path/to/folder --config.seeds=3

As brain_t1.py with the middle 16 slices of each volume, 160x160 about the centre and 6
epochs per stage.
"""

from kdmri_jax.experiments import base, brain_t1


def get_config(protocol="paper"):
  config = brain_t1.get_config(protocol)
  config.name = f"Brain T1, 4x, {protocol} losses, small"
  config.data.crop = (160, 160)
  config.data.slices_per_volume = 16
  base.short_schedule(config, epochs=6)
  return config
