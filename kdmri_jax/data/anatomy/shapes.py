"""A canvas with soft-edged shapes and smooth random fields for the anatomies.

Coordinates: x to the right and y downwards, the shorter side of the picture spans -1..1
and pixels are square; z runs from -1 (first slice) to 1 (last slice). A shape is a mask
float32 [S, H, W] in 0..1 whose edge is about 1.5 pixels wide, so that no structure is
jagged. Positions and sizes are numbers or [S, 1, 1] arrays, so that a structure can
change along the slices.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True)
class Canvas:
  """A stack of slices that a family paints, with its coordinates.

  Attributes:
    z: float32 [S, 1, 1]; 0 when there is one slice.
    y, x: float32 [S, H, W] or an array that broadcasts to it.
    pixel: edge of a pixel in the units of x and y.
    image: the picture, float32 [S, H, W], which `paint` changes.
    rng: NumPy generator of all that is random; the same state paints the same.
  """

  z: np.ndarray
  y: np.ndarray
  x: np.ndarray
  pixel: float
  image: np.ndarray
  rng: np.random.Generator

  def uniform(self, low: float, high: float, size: Any = None) -> Any:
    """Random numbers from `low` to `high`."""
    return self.rng.uniform(low, high, size)

  def posed(self, *, turn: float, bend: float, zoom: float = 1.0) -> "Canvas":
    """The same picture, seen from a random pose and bent by a smooth random field.

    Args:
      turn: deviation of the rotation in radians.
      bend: deviation of the local displacement, so that no shape is perfect.
      zoom: mean magnification; varies by 7 percent.
    """
    zoom = zoom * self.uniform(0.93, 1.07)
    angle, (move_x, move_y) = self.rng.normal() * turn, self.rng.normal(size=2) * 0.04
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    x = np.float32(cos) * self.x + np.float32(sin) * self.y - np.float32(move_x)
    y = np.float32(cos) * self.y - np.float32(sin) * self.x - np.float32(move_y)
    x = x + np.float32(bend) * self.field(0.5, smooth_z=1.0)
    y = y + np.float32(bend) * self.field(0.5, smooth_z=1.0)
    return dataclasses.replace(self, x=x, y=y, pixel=self.pixel / zoom)

  def paint(self, mask: np.ndarray, value: ArrayLike) -> None:
    """Covers the picture with `value` where `mask` is 1."""
    self.image[...] += mask * (value - self.image)

  def soft(self, distance: np.ndarray) -> np.ndarray:
    """1 where the signed distance is inside (positive), 0 outside, a ramp between."""
    ramp = distance / np.float32(1.5 * self.pixel) + np.float32(0.5)
    return np.clip(ramp, 0, 1)

  def ellipse_distance(
    self,
    cx: ArrayLike,
    cy: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    angle: float = 0.0,
    power: float = 2.0,
    wobble: Sequence[tuple[float, float, float]] = (),
  ) -> np.ndarray:
    """Signed distance (approximate, positive inside) to a superellipse.

    Args:
      cx, cy: centre.
      a, b: half axes along x and y before the rotation; <= 0 for no shape.
      angle: rotation in radians, from x towards y.
      power: 2 for an ellipse, more for rounded rectangles.
      wobble: (order, amplitude, phase) triples that modulate the radius along the
        polar angle.

    Returns:
      Distance, float32 [S, H, W].
    """
    a, b = (np.maximum(np.asarray(n, np.float32), np.float32(1e-3)) for n in (a, b))
    dx, dy = self.x - np.float32(cx), self.y - np.float32(cy)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (cos * dx + sin * dy) / a, (cos * dy - sin * dx) / b
    if power == 2:
      radius = np.sqrt(u * u + v * v)
    else:
      p = np.float32(power)
      radius = (np.abs(u) ** p + np.abs(v) ** p) ** (1 / p)
    if wobble:
      theta = np.arctan2(v, u)
      waves = (w * np.cos(k * theta + phase) for k, w, phase in wobble)
      radius = radius * (1 + sum(waves))
    smaller = np.minimum(a, b)
    return ((1 - radius) * smaller - self._vanishing(smaller)).astype(np.float32)

  def ellipse(self, *place_and_size: ArrayLike, **shape: Any) -> np.ndarray:
    """Mask of a superellipse; the arguments are those of `ellipse_distance`."""
    return self.soft(self.ellipse_distance(*place_and_size, **shape))

  def capsule(
    self, start: tuple[float, float], end: tuple[float, float], width: ArrayLike
  ) -> np.ndarray:
    """Mask of a straight band with round ends from `start` to `end`, both (x, y)."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = np.float32(x1 - x0), np.float32(y1 - y0)
    length = dx * dx + dy * dy + np.float32(1e-6)
    along = ((self.x - np.float32(x0)) * dx + (self.y - np.float32(y0)) * dy) / length
    along = np.clip(along, 0, 1)
    far = np.hypot(self.x - (x0 + along * dx), self.y - (y0 + along * dy))
    width = np.asarray(width, np.float32)
    return self.soft((width - self._vanishing(width) - far).astype(np.float32))

  def wobbles(self, amplitude: float) -> tuple:
    """Random radius modulation for `ellipse_distance`, weaker at high orders."""
    rng = self.rng
    return tuple(
      (k, float(rng.normal() * amplitude / k), float(rng.uniform(0, 2 * np.pi)))
      for k in (2, 3, 4, 5)
    )

  def field(
    self, wavelength: float, *, smooth_z: float = 0.6, band: float | None = None
  ) -> np.ndarray:
    """Gaussian random field of zero mean and unit deviation, float32 [S, H, W].

    Args:
      wavelength: finest structure in the units of x and y.
      smooth_z: correlation length along z.
      band: relative width of a ring of spatial frequencies about 1 / wavelength,
        which gives labyrinths; None keeps all lower frequencies, which gives clouds.
    """
    shape = self.image.shape
    slices, rows, columns = shape
    noise = self.rng.standard_normal(shape, dtype=np.float32)
    fy = np.fft.fftfreq(rows, self.pixel)[:, None]
    fx = np.fft.rfftfreq(columns, self.pixel)[None, :]
    radius = np.hypot(fy, fx) * wavelength
    exponent = -2 * radius**2 if band is None else -(((radius - 1) / band) ** 2)
    fz = np.fft.fftfreq(slices, 2 / slices)[:, None, None]
    gain = np.exp(exponent)[None] * np.exp(-2 * (fz * smooth_z) ** 2)
    spectrum = np.fft.rfftn(noise) * gain.astype(np.float32)
    smooth = np.fft.irfftn(spectrum, s=shape, axes=(0, 1, 2))
    smooth -= smooth.mean()
    return (smooth / max(smooth.std(), 1e-6)).astype(np.float32)

  def _vanishing(self, size):
    """Removes a structure that is thinner than half a pixel."""
    return np.float32(self.pixel) * (1 - np.clip(2 * size / self.pixel, 0, 1))


def blank(slices: int, rows: int, columns: int, rng: np.random.Generator) -> Canvas:
  """A black stack of `slices` slices of `rows` x `columns` square pixels."""
  pixel = 2.0 / min(rows, columns)
  centred = lambda n: (np.arange(n, dtype=np.float32) - (n - 1) / 2) * pixel  # noqa: E731
  depth = np.linspace(-1, 1, slices) if slices > 1 else np.zeros(1)
  axes = (depth, centred(rows), centred(columns))
  z, y, x = np.ix_(*(axis.astype(np.float32) for axis in axes))
  image = np.zeros((slices, rows, columns), np.float32)
  return Canvas(z, y, x, pixel, image, rng)
