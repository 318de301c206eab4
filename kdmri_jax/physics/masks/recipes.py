"""Recipes for sampling masks, in NumPy on the host.

A mask is uint8 [H, W], 1 = sampled, uncentred: zero frequency at [0, 0], negative
frequencies from the end. A Cartesian mask samples whole lines; its phase-encode
axis, along which it varies, is 0 (rows are measured) or 1 (columns). A 2-D mask has
no such axis.
"""

import math
from collections.abc import Callable

import numpy as np

from kdmri_jax.config import MaskConfig
from kdmri_jax.errors import ArgumentError
from kdmri_jax.physics.masks import files
from kdmri_jax.physics.masks.describe import middle


def cartesian(
  shape: tuple[int, int],
  acceleration: float = 4,
  centre_lines: int = 10,
  axis: int = 0,
  seed: int = 0,
) -> np.ndarray:
  """Lines drawn at random, denser towards zero frequency: the published recipe.

  int(N / acceleration) lines in all. The density of the lines outside the centre is
  exp(-0.5 ((k - N/2) / (N/10))^2) + 1 / (2 acceleration).

  Args:
    shape: rows and columns.
    acceleration: N / number of lines, above 1.
    centre_lines: fully sampled lines about zero frequency, at least 1; the published
      cardiac and brain masks have 10.
    axis: phase-encode axis, 0 or 1; 0 in those masks.
    seed: the same seed draws the same lines.

  Returns:
    Mask, uint8 [H, W].

  Raises:
    ArgumentError: an argument is out of range.

  Source: reproduces the distribution of KD-MRI's cardiac and brain masks; Schlemper et
    al. 2017.
  """
  line, rest = _centre_lines(shape, acceleration, centre_lines, axis)
  density = _gaussian(len(line)) + 1 / (2 * acceleration)
  return _spread(_draw(line, density, rest, seed), shape, axis)


def equispaced(
  shape: tuple[int, int],
  acceleration: float = 4,
  centre_lines: int = 10,
  axis: int = 0,
  seed: int = 0,
) -> np.ndarray:
  """Lines at equal distances outside the fully sampled centre.

  int(N / acceleration) lines in all, including the centre, as in fastMRI's
  `equispaced_fraction` masks. Arguments, result and errors as for `cartesian`; the seed
  draws the offset of the first line.
  """
  line, rest = _centre_lines(shape, acceleration, centre_lines, axis)
  outside = np.flatnonzero(line == 0)
  offset = _generator(seed).random()
  steps = (np.arange(rest) + offset) * len(outside) / max(rest, 1)
  line[outside[steps.astype(int)]] = 1
  return _spread(line, shape, axis)


def gaussian2d(
  shape: tuple[int, int], acceleration: float = 4, centre_lines: int = 10, seed: int = 0
) -> np.ndarray:
  """Points drawn at random, denser towards zero frequency, along both axes.

  int(H W / acceleration) points in all; the density of `cartesian`, with the
  Gaussian of both axes multiplied.

  Args:
    shape: rows and columns.
    acceleration: H W / number of points, above 1.
    centre_lines: side of the fully sampled square about zero frequency.
    seed: the same seed draws the same points.

  Returns:
    Mask, uint8 [H, W].

  Raises:
    ArgumentError: an argument is out of range.
  """
  if centre_lines > min(shape):
    raise _unfit(centre_lines, f"at most the smaller side of {shape}")
  points = math.prod(shape)
  rest = _points_outside_centre(points, acceleration, centre_lines, power=2)
  density = np.outer(_gaussian(shape[0]), _gaussian(shape[1])) + 1 / (2 * acceleration)
  mask = _draw(_centre(shape, centre_lines), density, rest, seed)
  return np.fft.ifftshift(mask)


def central(shape: tuple[int, int], acceleration: float = 4) -> np.ndarray:
  """The centre of k-space alone: images of lower resolution.

  Args:
    shape: rows and columns.
    acceleration: factor by which the resolution of each axis decreases, above 1.

  Returns:
    Mask, uint8 [H, W], with int(H / acceleration) x int(W / acceleration) points.

  Raises:
    ArgumentError: the factor is out of range.
  """
  _check_acceleration(acceleration, most=min(shape))
  rows, columns = (_centre((n,), int(n / acceleration)) for n in shape)
  return np.fft.ifftshift(np.outer(rows, columns))


def full(shape: tuple[int, int]) -> np.ndarray:
  """All of k-space: mask uint8 [H, W] of ones."""
  return np.ones(shape, np.uint8)


_DRAWN = ("acceleration", "centre_lines", "seed")

# Each recipe, and the settings it takes.
KINDS: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
  "cartesian": (cartesian, (*_DRAWN, "axis")),
  "equispaced": (equispaced, (*_DRAWN, "axis")),
  "gaussian2d": (gaussian2d, _DRAWN),
  "central": (central, ("acceleration",)),
  "full": (full, ()),
}


def build(config: MaskConfig, shape: tuple[int, int]) -> np.ndarray:
  """The mask that a config describes.

  Args:
    config: kind and settings; "file" reads `config.path` by `load`.
    shape: rows and columns of the images.

  Returns:
    Mask, uint8 [H, W].

  Raises:
    ArgumentError: a setting is out of range; it is named without its group, such as
      "axis".
    UserError: the file is refused.
  """
  if config.kind == "file":
    return files.load(config.path, shape, config.axis)
  recipe, settings = KINDS[config.kind]
  return recipe(shape, **{name: getattr(config, name) for name in settings})


def phase_encode_axis(config: MaskConfig) -> int | None:
  """The axis along which a mask of this config varies; None for a 2-D recipe."""
  lines = config.kind == "file" or "axis" in KINDS[config.kind][1]
  return config.axis if lines else None


def _gaussian(length: int) -> np.ndarray:
  k = np.arange(length)
  return np.exp(-0.5 * ((k - length / 2) / (length / 10)) ** 2)


def _centre(shape: tuple[int, ...], side: int) -> np.ndarray:
  """Centred mask of any rank, in which only the middle is sampled."""
  mask = np.zeros(shape, np.uint8)
  mask[middle(shape, side)] = 1
  return mask


def _draw(mask: np.ndarray, density: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Adds `count` points to a centred mask, by a density over its unsampled points."""
  density = np.where(mask, 0, density).ravel()
  drawn = _generator(seed).choice(
    mask.size, count, replace=False, p=density / density.sum()
  )
  mask.flat[drawn] = 1
  return mask


def _spread(line: np.ndarray, shape: tuple[int, int], axis: int) -> np.ndarray:
  """Uncentred mask from a centred line along the phase-encode axis."""
  line = np.fft.ifftshift(line)
  return np.broadcast_to(line[:, None] if axis == 0 else line, shape).copy()


def _centre_lines(
  shape: tuple[int, int], acceleration: float, centre_lines: int, axis: int
) -> tuple[np.ndarray, int]:
  """The centred line along the axis, and the number of samples still to add to it."""
  if axis not in (0, 1):
    raise ArgumentError("axis", f"{axis}", "0 (rows) or 1 (columns)")
  rest = _points_outside_centre(shape[axis], acceleration, centre_lines)
  return _centre((shape[axis],), centre_lines), rest


def _points_outside_centre(
  points: int, acceleration: float, centre_lines: int, power: int = 1
) -> int:
  """The number of lines (or points) still to draw; checks the settings."""
  _check_acceleration(acceleration)
  rest = int(points / acceleration) - centre_lines**power
  if centre_lines < 1 or rest < 0:
    size = f"1 to {int(int(points / acceleration) ** (1 / power))}"
    raise _unfit(centre_lines, f"{size} at acceleration {acceleration:g}")
  return rest


def _check_acceleration(acceleration: float, most: float = math.inf) -> None:
  if not 1 < acceleration <= most or math.isinf(acceleration):
    expected = "a number above 1" + (f", at most {most}" if most < math.inf else "")
    raise ArgumentError("acceleration", f"{acceleration}", expected)


def _unfit(centre_lines: int, expected: str) -> ArgumentError:
  remedy = "Lower the centre lines or the acceleration."
  return ArgumentError("centre_lines", f"{centre_lines}", expected, remedy)


def _generator(seed: int) -> np.random.Generator:
  if seed < 0:
    raise ArgumentError("seed", f"{seed}", "0 or more")
  return np.random.default_rng(seed)
