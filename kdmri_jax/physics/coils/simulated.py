"""Smooth sensitivities of coils around the field of view, for any size of image."""

import numpy as np

from kdmri_jax.errors import ArgumentError

_RADIUS = 1.55  # in half fields of view; the corner of the image is at 1.41


def simulate(shape: tuple[int, int], coils: int = 8, seed: int = 0) -> np.ndarray:
  """Sensitivities of coils on a ring around the image.

  A coil is a long loop of two wires along the axis of the ring. At the place z of the
  complex plane a straight wire at w has the field 1/(z - w) (Biot-Savart), so the coil
  has 1/(z - w1) - 1/(z - w2). The image spans -1 to 1 in both directions, whatever its
  numbers of rows and columns. The seed turns the ring, moves and widens each coil and
  draws its phase.

  Args:
    shape: rows and columns.
    coils: their number.
    seed: the same seed gives the same coils, in images of any size.

  Returns:
    complex64 [C, H, W], with root sum of squares 1 at each pixel.

  Raises:
    ArgumentError: there is no coil, or no pixel.
  """
  if coils < 1:
    raise ArgumentError("coils", f"{coils}", "at least 1")
  if len(shape) != 2 or min(shape) < 1:
    raise ArgumentError("shape", f"{shape}", "rows and columns, at least 1")
  rng = np.random.default_rng(seed)
  turn = rng.uniform(0, 2 * np.pi)
  moved, width = rng.uniform(-0.2, 0.2, coils), rng.uniform(0.8, 1.2, coils)
  phase = np.exp(2j * np.pi * rng.uniform(size=coils))
  angle = turn + 2 * np.pi * (np.arange(coils) + moved) / coils
  reach = width * min(np.pi / coils, np.pi / 4)  # half the angle that a coil covers
  wires = _RADIUS * np.exp(1j * (angle + np.stack([-reach, reach])))[..., None, None]
  rows, columns = ((2 * np.arange(n) + 1) / n - 1 for n in shape)
  place = columns + 1j * rows[:, None]
  field = phase[:, None, None] * (1 / (place - wires[0]) - 1 / (place - wires[1]))
  root = np.sqrt((np.abs(field) ** 2).sum(0))
  return (field / root).astype(np.complex64)
