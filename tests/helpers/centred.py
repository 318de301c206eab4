"""The centred orthonormal DFT by its definition, for tests of readers."""

import numpy as np


def dft_matrix(size, *, centred_image=True):
  """[frequency, pixel]; frequencies count from the middle, size // 2, pixels also."""
  frequency = np.arange(size) - size // 2
  pixel = frequency if centred_image else np.arange(size)
  return np.exp(-2j * np.pi * np.outer(frequency, pixel) / size) / np.sqrt(size)


def dft(array, *axes, centred_image=True):
  """K-space of images along these axes."""
  for axis in axes:
    moved = np.moveaxis(array, axis, -1)
    matrix = dft_matrix(moved.shape[-1], centred_image=centred_image)
    array = np.moveaxis(moved @ matrix.T, -1, axis)
  return array


def complex_images(shape, seed=0):
  """Random complex numbers, none of them 0."""
  real, imaginary = np.random.default_rng(seed).uniform(0.1, 3, (2, *shape))
  return real - 1j * imaginary
