"""The phase of scans, for images that were stored without one."""

import zlib

import numpy as np
from numpy.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.image_layout import described


def add_phase(images: ArrayLike, most: float = 3.0) -> np.ndarray:
  """Gives real images a smooth phase, as an uneven field and delays give it to a scan.

  It is a constant, uniform over the circle, and a polynomial p of second degree. With x
  and y from -1 to 1 over the image, p is u (a x + b y + c x^2 + d x y + e y^2), divided
  by the sum of |a| to |e|; u is uniform from 0 to 1, the others from -1 to 1. The draws
  depend on the values of the image alone: the same image gets the same phase.

  Args:
    images: [S, H, W].
    most: bound of |p|, in radians.

  Returns:
    complex64 [S, H, W], of the same magnitudes.

  Raises:
    ArgumentError: the images are complex or have other axes, or `most` is negative.
  """
  images = np.asarray(images)
  if images.ndim != 3 or images.dtype.kind == "c":
    raise ArgumentError("images", described(images), "real ones [S, H, W]")
  if not most >= 0:
    raise ArgumentError("most", f"{most}", "a number of at least 0")
  y, x = (np.linspace(-1, 1, n) for n in images.shape[1:])
  y = y[:, None]
  powers = np.stack(np.broadcast_arrays(x, y, x**2, x * y, y**2))
  found = np.empty(images.shape, np.complex64)
  for image, result in zip(images, found, strict=True):
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(image, np.float32)))
    shares = rng.uniform(-1, 1, 5)
    shares *= most * rng.uniform() / np.abs(shares).sum()
    angle = rng.uniform(0, 2 * np.pi) + np.tensordot(shares, powers, 1)
    result[:] = image * np.exp(1j * angle)
  return found
