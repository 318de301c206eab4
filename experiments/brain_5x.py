"""KD-MRI, brain at 5x: see published.py for the data it expects."""

from kdmri_jax.experiments import published


def get_config(protocol="paper"):
  return published.start("brain", 5, protocol)
