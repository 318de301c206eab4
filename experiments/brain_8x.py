"""KD-MRI, brain at 8x: see published.py for the data it expects."""

from experiments import published


def get_config(protocol="paper"):
  return published.get_config("brain", 8, protocol)
