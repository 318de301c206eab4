"""The nine dataset and acceleration settings of the KD-MRI paper (tables 1 to 3).

The files NAME_Nx.py beside this one are these settings one by one. They read the
layout of the published code, from the folder in which you start the command:

  datasets/{cardiac,mrbrain,knee}/{train,validation}/acc_{4x,5x,8x}/N.h5
  us_masks/{cardiac,mrbrain,knee}/mask_{4x,5x,8x}.npy

Other folders: --config.data.root=DIR --config.mask.path=FILE. Without the published
masks, one of the published recipe: --config.mask.kind=cartesian (the data must then
not bring its own k-space). The protocol of the published code instead of the
paper's: --config=experiments/NAME_Nx.py:reference

The images: ACDC (cardiac), MRBrainS (brain) and the knees of Hammernik et al. 2018,
each from its own site after registration.
"""

from experiments import base

# anatomy: (folder, phase-encode axis, fully sampled lines)
_ANATOMIES = {
  "cardiac": ("cardiac", 0, 10),
  "brain": ("mrbrain", 0, 10),
  "knee": ("knee", 1, 30),
}


def get_config(anatomy: str, acceleration: int, protocol: str):
  """One setting; 150 epochs for each of the four stages."""
  folder, axis, centre_lines = _ANATOMIES[anatomy]
  config = base.get_config(protocol)
  config.name = f"KD-MRI, {anatomy} {acceleration}x, {protocol} protocol"
  config.data.update(
    source="kdmri",
    root="datasets",
    kdmri_type=folder,
    acceleration_tag=f"{acceleration}x",
    scaling="none",
  )
  config.mask.update(
    kind="file",
    path=f"us_masks/{folder}/mask_{acceleration}x.npy",
    acceleration=float(acceleration),
    centre_lines=centre_lines,
    axis=axis,
  )
  return config
