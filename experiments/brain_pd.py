"""Brain PD images of healthy subjects at 4x, on a budget for two cores.

  kdmri run --config=brain_pd --workdir=runs/brain_pd \
    --config.data.root=/path/to/folder

The images: axial proton-density slices of 70 subjects of the IXI set (brain-
development.org), two per subject, 256x256, in one NumPy archive: `image` [140, 256,
256] and `subject` [140], 1 to 70. 49 subjects for training, 21 for the comparison.
"""

from kdmri_jax.experiments import base, study


def get_config(protocol="paper"):
  config = base.get_config(protocol)
  config.name = f"Brain PD, 4x, {protocol} losses, reduced budget"
  config.data.update(
    source="npz",
    root="data/brain_pd",
    validation=("5?", "6?", "70"),
    crop=(256, 256),
  )
  base.short_schedule(config, epochs=20)
  study.add_control(config)
  return config
