"""Short-axis hearts in a thorax: blood pools, myocardium, lungs, liver, chest wall."""

import numpy as np

from kdmri_jax.data.anatomy import shapes


def draw(grid: shapes.Grid, rng: np.random.Generator) -> np.ndarray:
  """One heart, float32 [S, H, W], sternum up; intensities about 0..1.

  The stack runs from the base of the ventricles to the apex.

  Args:
    grid: coordinates.
    rng: NumPy generator; the same state draws the same heart.
  """
  grid = shapes.posed(grid, rng, zoom=1.25, turn=0.2, bend=0.02)
  jitter = lambda value: np.float32(value * rng.uniform(0.9, 1.1))  # noqa: E731
  blood, muscle, fat = jitter(0.85), jitter(0.3), jitter(0.8)
  lung, liver = jitter(0.07), jitter(0.38)
  image = np.zeros(grid.shape, np.float32)
  _thorax(image, grid, rng, (lung, fat, muscle, liver))
  centre = (rng.uniform(-0.02, 0.12), rng.uniform(-0.12, 0.04))
  descent = (grid.z + 1) / 2
  radius = rng.uniform(0.2, 0.27) * (1 - 0.55 * descent**1.6)
  wall = rng.uniform(0.075, 0.12) * (1 - 0.25 * descent)
  centre = (centre[0] + 0.08 * descent, centre[1] + 0.05 * descent)
  tilt = rng.uniform(-0.3, 0.3)
  outer = shapes.ellipse_distance(
    grid, *centre, radius + wall, radius + wall, wobble=shapes.wobbles(rng, 0.04)
  )
  _right_ventricle(image, grid, rng, centre, outer, descent, tilt, (blood, muscle, fat))
  shapes.paint(image, shapes.soft(grid, outer), muscle)
  _left_ventricle(image, grid, rng, centre, radius, (blood, muscle))
  return image


def _thorax(image, grid, rng, tissue):
  lung, fat, muscle, liver = tissue
  body = {"power": 2.4, "wobble": shapes.wobbles(rng, 0.02)}
  height = rng.uniform(0.86, 0.98)
  layers = ((0.0, fat), (rng.uniform(0.06, 0.14), muscle), (0.24, fat), (0.27, lung))
  for thickness, value in layers:
    mask = shapes.ellipse(grid, 0, 0.05, 1.25 - thickness, height - thickness, **body)
    shapes.paint(image, mask, value)
  cavity = mask
  vessels = shapes.field(grid, rng, 0.09, smooth_z=0.3)
  shapes.paint(image, 0.7 * cavity * np.clip(vessels - 1.9, 0, 1), np.float32(0.5))
  _ribs(image, grid, rng, height, lung)
  dome = rng.uniform(-0.1, 0.15) - 0.25 * (grid.z + 1) / 2
  texture = 1 + 0.08 * shapes.field(grid, rng, 0.12)
  mask = shapes.ellipse(grid, -0.62, 0.62 + dome, 0.62, 0.42, power=2.5, angle=-0.2)
  shapes.paint(image, cavity * mask, liver * texture)
  mask = shapes.ellipse(grid, 0.72, 0.6 + dome, 0.34, 0.26, angle=0.3)
  shapes.paint(image, cavity * mask, np.float32(0.8) * liver * texture)
  back = shapes.ellipse(grid, 0, 0.83, 0.3, 0.25, power=3)
  shapes.paint(image, back, muscle)
  shapes.paint(
    image, shapes.ellipse(grid, 0.0, 0.72, 0.15, 0.12, power=2.6), 1.9 * muscle
  )
  shapes.paint(image, shapes.ellipse(grid, 0.0, 0.9, 0.05, 0.05), fat)
  aorta = (rng.uniform(0.17, 0.24), rng.uniform(0.5, 0.58))
  shapes.paint(image, shapes.ellipse(grid, *aorta, 0.085, 0.085), muscle)
  shapes.paint(image, shapes.ellipse(grid, *aorta, 0.068, 0.068), np.float32(0.85))


def _ribs(image, grid, rng, height, value):
  offset = rng.uniform(-0.2, 0.2)
  for angle in np.arange(8) * 0.42 - 2.9 + offset:
    x, y = 1.08 * np.cos(angle), 0.05 + (height - 0.19) * np.sin(angle)
    drift = 0.05 * np.sin(3 * grid.z + 5 * angle)
    mask = shapes.ellipse(grid, x + drift, y, 0.11, 0.03, angle=angle + np.pi / 2)
    shapes.paint(image, 0.8 * mask, value + np.float32(0.1))


def _right_ventricle(image, grid, rng, centre, outer, descent, tilt, tissue):
  blood, muscle, fat = tissue
  x, y = centre
  a = rng.uniform(0.3, 0.4) * (1 - 0.75 * descent**1.5)
  b = rng.uniform(0.26, 0.34) * (1 - 0.6 * descent**1.5)
  place = (x - rng.uniform(0.26, 0.32), y - 0.06)
  shape = {"angle": tilt + 0.35, "wobble": shapes.wobbles(rng, 0.06)}
  pericardium = shapes.ellipse_distance(grid, *place, a + 0.07, b + 0.07, **shape)
  pericardium = np.maximum(pericardium, outer + 0.05)
  shapes.paint(image, shapes.soft(grid, pericardium), fat)
  shapes.paint(
    image, shapes.ellipse(grid, *place, a + 0.025, b + 0.025, **shape), muscle
  )
  shapes.paint(image, shapes.soft(grid, outer + 0.015), muscle)
  trabeculae = shapes.field(grid, rng, 0.1, smooth_z=0.3, band=0.5)
  pool = shapes.ellipse(grid, *place, a, b, **shape) * (1 - shapes.soft(grid, outer))
  shapes.paint(image, pool, blood * (1 - 0.12 * np.clip(trabeculae - 0.8, 0, 2)))


def _left_ventricle(image, grid, rng, centre, radius, tissue):
  blood, muscle = tissue
  x, y = centre
  pool = shapes.ellipse_distance(
    grid,
    x,
    y,
    radius,
    radius * rng.uniform(0.92, 1.02),
    wobble=shapes.wobbles(rng, 0.05),
  )
  swirl = 1 + 0.05 * shapes.field(grid, rng, 0.2, smooth_z=0.3)
  shapes.paint(image, shapes.soft(grid, pool), blood * swirl)
  present = np.clip(1 - 2.5 * (grid.z - rng.uniform(-0.3, 0.2)) ** 2, 0, 1)
  for angle in (rng.uniform(-0.2, 0.5), rng.uniform(1.8, 2.5)):
    px, py = x + 0.68 * radius * np.cos(angle), y + 0.68 * radius * np.sin(angle)
    size = rng.uniform(0.035, 0.055) * present
    mask = shapes.ellipse(grid, px, py, size, 0.75 * size, angle=angle)
    shapes.paint(image, mask * shapes.soft(grid, pool), muscle)
