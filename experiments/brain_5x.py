"""KD-MRI, brain at 5x: see published.py for the data it expects."""

from experiments import published


def get_config(protocol="paper"):
  return published.get_config("brain", 5, protocol)
