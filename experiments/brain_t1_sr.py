"""Super-resolution of brain T1 images: 256x256 from the central 64x64 of k-space.

  python scripts/run.py --config=experiments/brain_t1_sr.py --workdir=runs/brain_t1_sr \
    --config.data.root=/path/to/folder

The images and the split of brain_t1.py; VDSR of 11 convolutions teaches one of 7, with
KD-MRI's losses (`:reference` for those of the published code). Trained on patches of
64x64, to save time. Other factors: --config.mask.acceleration=2.
"""

from experiments import base, brain_t1


def get_config(protocol="paper"):
  config = brain_t1.get_config(protocol)
  base.upscale(config)
  base.shorten(config, epochs=30)
  config.augment.update(flips=True, rotations=True, patch=(64, 64))
  config.name = f"Brain T1, super-resolution, {protocol} losses, reduced budget"
  return config
