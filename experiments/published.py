"""The nine dataset and acceleration settings of the KD-MRI paper (tables 1 to 3).

The files NAME_Nx.py beside this one select these settings. They read the layout of the
published code, from the folder in which you start the command:

  datasets/{cardiac,mrbrain,knee}/{train,validation}/acc_{4x,5x,8x}/N.h5
  us_masks/{cardiac,mrbrain,knee}/mask_{4x,5x,8x}.npy

Other folders: --config.data.root=DIR --config.mask.path=FILE. Without the published
masks, one of the published recipe: --config.mask.kind=cartesian (the data must then
not bring its own k-space). The protocol of the published code instead of the
paper's: --config=NAME_Nx:reference

The images: ACDC (cardiac), MRBrainS (brain) and the knees of Hammernik et al. 2018,
each from its own site after registration. The report shows the published numbers only
for these data at this acceleration. If another source holds the same images, declare it
by --config.evaluation.published_on.data.source=prepared and the like.
"""

from ml_collections import ConfigDict

from kdmri_jax.experiments import base

# anatomy: (folder, phase-encode axis, fully sampled lines)
_ANATOMIES = {
  "cardiac": ("cardiac", 0, 10),
  "brain": ("mrbrain", 0, 10),
  "knee": ("knee", 1, 30),
}

_SOURCE = "Murugesan et al., KD-MRI (MIDL 2020, arXiv 2004.05319), tables 1 to 3"

_ROWS = ("zero_filled", "teacher", "student", "kd")

# PSNR in dB and SSIM of `_ROWS`
_PUBLISHED = {
  ("cardiac", 4): ((24.27, 0.6996), (32.51, 0.9157), (31.92, 0.9053), (32.07, 0.9084)),
  ("cardiac", 5): ((23.82, 0.6742), (31.49, 0.9002), (30.79, 0.8863), (31.01, 0.8913)),
  ("cardiac", 8): ((22.83, 0.6344), (28.43, 0.8335), (27.87, 0.8156), (28.11, 0.8236)),
  ("brain", 4): ((31.38, 0.6651), (40.03, 0.9781), (39.36, 0.9753), (39.8, 0.977)),
  ("brain", 5): ((29.93, 0.6304), (39.03, 0.971), (38.58, 0.9674), (38.78, 0.9688)),
  ("brain", 8): ((29.37, 0.6065), (35.04, 0.9374), (34.39, 0.9281), (34.83, 0.9337)),
  ("knee", 4): ((29.66, 0.8066), (37.15, 0.9436), (36.37, 0.9367), (36.7, 0.9392)),
  ("knee", 5): ((29.2, 0.8007), (35.16, 0.9231), (34.37, 0.9144), (34.71, 0.9181)),
  ("knee", 8): ((28.71, 0.7985), (32.53, 0.8887), (31.92, 0.8804), (32.32, 0.8867)),
}


def start(anatomy: str, acceleration: int, protocol: str):
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
  config.evaluation.published = ConfigDict(
    dict(zip(_ROWS, _PUBLISHED[anatomy, acceleration], strict=True))
  )
  config.evaluation.published_source = _SOURCE
  config.evaluation.published_on = ConfigDict(
    dict(
      data=dict(source="kdmri", kdmri_type=folder, acceleration_tag=f"{acceleration}x"),
      mask=dict(acceleration=float(acceleration)),
      evaluation=dict(protocol="kdmri"),
    )
  )
  return config
