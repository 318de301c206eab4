"""KD-MRI, cardiac at 4x: see published.py for the data it expects."""

from kdmri_jax.experiments import published


def get_config(protocol="paper"):
  return published.start("cardiac", 4, protocol)
