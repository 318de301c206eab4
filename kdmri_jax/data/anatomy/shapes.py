"""Soft-edged shapes and smooth random fields for the anatomies.

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
class Grid:
  """Coordinates of a stack of slices.

  Attributes:
    z: float32 [S, 1, 1]; 0 when there is one slice.
    y, x: float32 [S, H, W] or an array that broadcasts to it.
    pixel: edge of a pixel in the units of x and y.
    shape: (S, H, W).
  """

  z: np.ndarray
  y: np.ndarray
  x: np.ndarray
  pixel: float
  shape: tuple[int, int, int]


def make_grid(slices: int, rows: int, columns: int) -> Grid:
  """Coordinates of `slices` slices of `rows` x `columns` square pixels."""
  pixel = 2.0 / min(rows, columns)
  centred = lambda n: (np.arange(n, dtype=np.float32) - (n - 1) / 2) * pixel  # noqa: E731
  z = np.linspace(-1, 1, slices) if slices > 1 else np.zeros(1)
  return Grid(
    z.astype(np.float32)[:, None, None],
    centred(rows).astype(np.float32)[None, :, None],
    centred(columns).astype(np.float32)[None, None, :],
    pixel,
    (slices, rows, columns),
  )


def posed(
  grid: Grid,
  rng: np.random.Generator,
  *,
  zoom: float = 1.0,
  turn: float = 0.1,
  shift: float = 0.04,
  bend: float = 0.02,
) -> Grid:
  """The coordinates seen from a random pose and bent by a smooth random field.

  Args:
    grid: coordinates.
    rng: NumPy generator.
    zoom: mean magnification; varies by 7 percent.
    turn: deviation of the rotation in radians.
    shift: deviation of the translation.
    bend: deviation of the local displacement, so that no shape is perfect.
  """
  zoom = zoom * rng.uniform(0.93, 1.07)
  angle, (move_x, move_y) = rng.normal() * turn, rng.normal(size=2) * shift
  cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
  x = np.float32(cos) * grid.x + np.float32(sin) * grid.y - np.float32(move_x)
  y = np.float32(cos) * grid.y - np.float32(sin) * grid.x - np.float32(move_y)
  x = x + np.float32(bend) * field(grid, rng, 0.5, smooth_z=1.0)
  y = y + np.float32(bend) * field(grid, rng, 0.5, smooth_z=1.0)
  return dataclasses.replace(grid, x=x, y=y, pixel=grid.pixel / zoom)


def soft(grid: Grid, distance: np.ndarray) -> np.ndarray:
  """1 where the signed distance is inside (positive), 0 outside, a ramp between."""
  return np.clip(distance / np.float32(1.5 * grid.pixel) + np.float32(0.5), 0, 1)


def ellipse_distance(
  grid: Grid,
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
    grid: coordinates.
    cx, cy: centre.
    a, b: half axes along x and y before the rotation; <= 0 for no shape.
    angle: rotation in radians, from x towards y.
    power: 2 for an ellipse, more for rounded rectangles.
    wobble: (order, amplitude, phase) triples that modulate the radius along the
      polar angle.

  Returns:
    Distance, float32 [S, H, W].
  """
  a, b = _sizes(a), _sizes(b)
  dx, dy = grid.x - np.float32(cx), grid.y - np.float32(cy)
  cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
  u, v = (cos * dx + sin * dy) / a, (cos * dy - sin * dx) / b
  if power == 2:
    radius = np.sqrt(u * u + v * v)
  else:
    p = np.float32(power)
    radius = (np.abs(u) ** p + np.abs(v) ** p) ** (1 / p)
  if wobble:
    theta = np.arctan2(v, u)
    radius = radius * (1 + sum(w * np.cos(k * theta + phase) for k, w, phase in wobble))
  smaller = np.minimum(a, b)
  return ((1 - radius) * smaller - _vanishing(grid, smaller)).astype(np.float32)


def ellipse(
  grid: Grid, cx: ArrayLike, cy: ArrayLike, a: ArrayLike, b: ArrayLike, **shape: Any
) -> np.ndarray:
  """Mask of a superellipse; the arguments are those of `ellipse_distance`."""
  return soft(grid, ellipse_distance(grid, cx, cy, a, b, **shape))


def capsule(
  grid: Grid, start: tuple[float, float], end: tuple[float, float], width: ArrayLike
) -> np.ndarray:
  """Mask of a straight band with round ends from `start` to `end`, both (x, y)."""
  (x0, y0), (x1, y1) = start, end
  dx, dy = np.float32(x1 - x0), np.float32(y1 - y0)
  length = dx * dx + dy * dy + np.float32(1e-6)
  along = ((grid.x - np.float32(x0)) * dx + (grid.y - np.float32(y0)) * dy) / length
  along = np.clip(along, 0, 1)
  far = np.hypot(grid.x - (x0 + along * dx), grid.y - (y0 + along * dy))
  width = np.asarray(width, np.float32)
  return soft(grid, (width - _vanishing(grid, width) - far).astype(np.float32))


def paint(image: np.ndarray, mask: np.ndarray, value: ArrayLike) -> None:
  """Covers `image` with `value` where `mask` is 1, in place."""
  image += mask * (value - image)


def wobbles(
  rng: np.random.Generator, amplitude: float, orders: Sequence[int] = (2, 3, 4, 5)
) -> tuple:
  """Random radius modulation for `ellipse_distance`, weaker at high orders."""
  return tuple(
    (k, float(rng.normal() * amplitude / k), float(rng.uniform(0, 2 * np.pi)))
    for k in orders
  )


def field(
  grid: Grid,
  rng: np.random.Generator,
  wavelength: float,
  *,
  smooth_z: float = 0.6,
  band: tuple[float, float] | None = None,
) -> np.ndarray:
  """Gaussian random field of zero mean and unit deviation, float32 [S, H, W].

  Args:
    grid: coordinates.
    rng: NumPy generator.
    wavelength: finest structure in the units of x and y.
    smooth_z: correlation length along z.
    band: relative width of a ring of spatial frequencies about 1 / wavelength,
      which gives labyrinths; None keeps all lower frequencies, which gives clouds.
  """
  slices, rows, columns = grid.shape
  noise = rng.standard_normal(grid.shape, dtype=np.float32)
  fy = np.fft.fftfreq(rows, grid.pixel)[:, None]
  fx = np.fft.rfftfreq(columns, grid.pixel)[None, :]
  radius = np.hypot(fy, fx) * wavelength
  gain = (
    np.exp(-2 * radius**2) if band is None else np.exp(-(((radius - 1) / band) ** 2))
  )
  fz = np.fft.fftfreq(slices, 2 / slices)[:, None, None]
  gain = gain[None] * np.exp(-2 * (fz * smooth_z) ** 2)
  spectrum = np.fft.rfftn(noise) * gain.astype(np.float32)
  smooth = np.fft.irfftn(spectrum, s=grid.shape, axes=(0, 1, 2))
  smooth -= smooth.mean()
  return (smooth / max(smooth.std(), 1e-6)).astype(np.float32)


def _vanishing(grid, size):
  """Removes a structure that is thinner than half a pixel."""
  return np.float32(grid.pixel) * (1 - np.clip(2 * size / grid.pixel, 0, 1))


def _sizes(value) -> np.ndarray:
  return np.maximum(np.asarray(value, np.float32), np.float32(1e-3))
