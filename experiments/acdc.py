"""Cardiac images of ACDC at 4x, on a budget for two CPU cores.

  kdmri run --config=acdc --workdir=runs/acdc \
    --config.data.root=/path/to/ACDC

The folder holds `training/patient001` ... in the official naming (from the ACDC
challenge site, after registration). End-diastolic and end-systolic volumes of the first
60 patients: 48 for training, 12 for the comparison. For the full setting see
cardiac_4x.py.
"""

from kdmri_jax.experiments import base, study


def get_config(protocol="paper"):
  config = base.get_config(protocol)
  config.name = f"ACDC, 4x, {protocol} losses, reduced budget"
  config.data.update(
    source="acdc",
    root="data/ACDC",
    train=("patient00?", "patient0[1-3]?", "patient04[0-8]"),
    validation=("patient049", "patient05?", "patient060"),
    crop=(128, 128),
    slices_per_volume=4,
  )
  config.mask.centre_lines = 8
  base.short_schedule(config, epochs=20)
  study.add_control(config)
  return config
