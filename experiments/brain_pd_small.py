"""Brain PD images at 4x, small enough to repeat with several seeds on a CPU.

  kdmri run --config=shrink:brain_pd_small --workdir=runs/shrink_brain \
    --config.data.root=/path/to/folder --config.seeds=5

As brain_pd.py with the middle 192x192 of each slice, mirrored at random, and one slice
per step. Of the 70 subjects 42 are for training, 7 choose weights and recipes, and 21
are for the comparison.
"""

from kdmri_jax.experiments import base, brain_pd


def get_config(protocol="paper"):
  config = brain_pd.get_config(protocol)
  config.name = f"Brain PD, 4x, {protocol} losses, small"
  config.data.update(validation=("4[3-9]",), test=("5?", "6?", "70"), crop=(192, 192))
  config.augment.flips = True
  config.batch_size = 1
  base.short_schedule(config, epochs=19)
  return config
