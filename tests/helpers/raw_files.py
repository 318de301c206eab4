"""K-space of a few coils, by the definition of the centred transform."""

import numpy as np
from helpers.centred import dft


def to_kspace(images, *, centred_image=True):
  """Centred k-space of images [..., H, W], in double precision."""
  return dft(images, -2, -1, centred_image=centred_image)


def noise(shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def scan(shape=(3, 4, 9, 8), seed=0):
  """Images [S, H, W] and coil sensitivities [S, C, H, W]."""
  slices, _, *size = shape
  return noise((slices, *size), seed), noise(shape, seed + 1000)
