"""Images of every layout that the public functions take."""

import numpy as np

_RNG = np.random.default_rng(0)
SHAPE = (24, 20)
IMAGES = {
  "slice": _RNG.random(SHAPE),
  "volume": _RNG.random((3, *SHAPE)),
  "complex slice": _RNG.random(SHAPE) + 1j * _RNG.random(SHAPE),
  "complex volume": _RNG.random((3, *SHAPE)) + 1j * _RNG.random((3, *SHAPE)),
  "batch": _RNG.random((3, *SHAPE, 1)),
  "complex batch": _RNG.random((3, *SHAPE, 2)),
}


def plain(image):
  """[..., H, W], real or complex, in float64."""
  if image.ndim < 4:
    return image
  return image[..., 0] if image.shape[-1] == 1 else image[..., 0] + 1j * image[..., 1]
