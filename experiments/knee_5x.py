"""KD-MRI, knee at 5x: see published.py for the data it expects."""

from kdmri_jax.experiments import published


def get_config(protocol="paper"):
  return published.start("knee", 5, protocol)
