"""KD-MRI, brain at 8x: see published.py for the data it expects."""

from kdmri_jax.experiments import published


def get_config(protocol="paper"):
  return published.start("brain", 8, protocol)
