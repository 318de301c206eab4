"""Several coils: from images with simulated coils to the k-space of scanners.

  kdmri run --config=coils --workdir=runs/coils --config.data.root=/path/to/images
  kdmri run --config=coils --workdir=runs/coils --config.data.root=/path/to/images \
    --config.data.test_source.source=ismrmrd \
    --config.data.test_source.root=/path/to/raw \
    --config.data.test_source.combine=none

Eight coils with a smooth phase are simulated around the images, mirrored at random; the
second command tests on the coils of files, whose sensitivities are estimated. Networks
of complex images, otherwise as own.py. Files with coils train by
--config.coils.count=0 --config.data.combine=none.

`lam` is finite: measured k-space counts ten times as much as the network's image. Where
sensitivities are estimated from few lines, or coils are noisy, a network that replaces
(`lam=inf`) is better on simulated coils and falls behind CG-SENSE on others. The mask
samples the 24 central lines from which sensitivities are estimated.
"""

from kdmri_jax.experiments import own


def get_config(protocol="paper"):
  config = own.get_config(protocol)
  config.name = f"Several coils, 4x, {protocol} losses"
  config.coils.count = 8
  config.mask.centre_lines = 24
  config.augment.flips = True
  config.batch_size = 2
  for model in config.models.values():
    model.update(channels=2, lam=10.0)
  return config
