"""Images of your own at 4x, on a budget for two cores.

  kdmri run --config=own --workdir=runs/own --config.data.root=/path/to/folder

The four stages of KD-MRI and a student that is trained alone for as long, all with Muon
and a cosine schedule. NIfTI files; with --config.data.source=NAME any other source. A
fifth of the subjects, drawn by --config.data.split_seed, is for the comparison. Name
them with --config.data.validation, and with --config.data.test those that are held out
of the choice of weights.
"""

from kdmri_jax.experiments import base, study


def get_config(protocol="paper"):
  config = base.get_config(protocol)
  config.name = f"Own images, 4x, {protocol} losses"
  config.data.update(source="nifti", root="data/own")
  config.epochs = 20
  study.add_control(config)
  base.for_all_stages(config, **study.MUON)
  return config
