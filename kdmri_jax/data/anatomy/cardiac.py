"""Short-axis hearts in a thorax: blood pools, myocardium, lungs, liver, chest wall."""

import numpy as np

from kdmri_jax.data.anatomy import shapes


def draw(canvas: shapes.Canvas) -> None:
  """One heart, sternum up; intensities about 0..1.

  The stack runs from the base of the ventricles to the apex.

  Args:
    canvas: black; the same state of its generator draws the same.
  """
  canvas = canvas.posed(zoom=1.25, turn=0.2, bend=0.02)
  jitter = lambda value: np.float32(value * canvas.uniform(0.9, 1.1))  # noqa: E731
  blood, muscle, fat = jitter(0.85), jitter(0.3), jitter(0.8)
  lung, liver = jitter(0.07), jitter(0.38)
  _thorax(canvas, lung, fat, muscle, liver)
  centre = (canvas.uniform(-0.02, 0.12), canvas.uniform(-0.12, 0.04))
  descent = (canvas.z + 1) / 2
  radius = canvas.uniform(0.2, 0.27) * (1 - 0.55 * descent**1.6)
  wall = canvas.uniform(0.075, 0.12) * (1 - 0.25 * descent)
  centre = (centre[0] + 0.08 * descent, centre[1] + 0.05 * descent)
  tilt = canvas.uniform(-0.3, 0.3)
  size = radius + wall
  outer = canvas.ellipse_distance(*centre, size, size, wobble=canvas.wobbles(0.04))
  _right_ventricle(canvas, centre, outer, descent, tilt, blood, muscle, fat)
  canvas.paint(canvas.soft(outer), muscle)
  _left_ventricle(canvas, centre, radius, blood, muscle)


def _thorax(canvas, lung, fat, muscle, liver):
  body = {"power": 2.4, "wobble": canvas.wobbles(0.02)}
  height = canvas.uniform(0.86, 0.98)
  layers = ((0.0, fat), (canvas.uniform(0.06, 0.14), muscle), (0.24, fat), (0.27, lung))
  for depth, value in layers:
    cavity = canvas.ellipse(0, 0.05, 1.25 - depth, height - depth, **body)
    canvas.paint(cavity, value)
  vessels = canvas.field(0.09, smooth_z=0.3)
  canvas.paint(0.7 * cavity * np.clip(vessels - 1.9, 0, 1), np.float32(0.5))
  _ribs(canvas, height, lung)
  dome = canvas.uniform(-0.1, 0.15) - 0.25 * (canvas.z + 1) / 2
  texture = 1 + 0.08 * canvas.field(0.12)
  mask = canvas.ellipse(-0.62, 0.62 + dome, 0.62, 0.42, power=2.5, angle=-0.2)
  canvas.paint(cavity * mask, liver * texture)
  mask = canvas.ellipse(0.72, 0.6 + dome, 0.34, 0.26, angle=0.3)
  canvas.paint(cavity * mask, np.float32(0.8) * liver * texture)
  canvas.paint(canvas.ellipse(0, 0.83, 0.3, 0.25, power=3), muscle)
  canvas.paint(canvas.ellipse(0.0, 0.72, 0.15, 0.12, power=2.6), 1.9 * muscle)
  canvas.paint(canvas.ellipse(0.0, 0.9, 0.05, 0.05), fat)
  aorta = (canvas.uniform(0.17, 0.24), canvas.uniform(0.5, 0.58))
  canvas.paint(canvas.ellipse(*aorta, 0.085, 0.085), muscle)
  canvas.paint(canvas.ellipse(*aorta, 0.068, 0.068), np.float32(0.85))


def _ribs(canvas, height, value):
  offset = canvas.uniform(-0.2, 0.2)
  for angle in np.arange(8) * 0.42 - 2.9 + offset:
    x, y = 1.08 * np.cos(angle), 0.05 + (height - 0.19) * np.sin(angle)
    drift = 0.05 * np.sin(3 * canvas.z + 5 * angle)
    mask = canvas.ellipse(x + drift, y, 0.11, 0.03, angle=angle + np.pi / 2)
    canvas.paint(0.8 * mask, value + np.float32(0.1))


def _right_ventricle(canvas, centre, outer, descent, tilt, blood, muscle, fat):
  x, y = centre
  a = canvas.uniform(0.3, 0.4) * (1 - 0.75 * descent**1.5)
  b = canvas.uniform(0.26, 0.34) * (1 - 0.6 * descent**1.5)
  place = (x - canvas.uniform(0.26, 0.32), y - 0.06)
  shape = {"angle": tilt + 0.35, "wobble": canvas.wobbles(0.06)}
  pericardium = canvas.ellipse_distance(*place, a + 0.07, b + 0.07, **shape)
  pericardium = np.maximum(pericardium, outer + 0.05)
  canvas.paint(canvas.soft(pericardium), fat)
  canvas.paint(canvas.ellipse(*place, a + 0.025, b + 0.025, **shape), muscle)
  canvas.paint(canvas.soft(outer + 0.015), muscle)
  trabeculae = canvas.field(0.1, smooth_z=0.3, band=0.5)
  pool = canvas.ellipse(*place, a, b, **shape) * (1 - canvas.soft(outer))
  canvas.paint(pool, blood * (1 - 0.12 * np.clip(trabeculae - 0.8, 0, 2)))


def _left_ventricle(canvas, centre, radius, blood, muscle):
  x, y = centre
  height = radius * canvas.uniform(0.92, 1.02)
  pool = canvas.ellipse_distance(x, y, radius, height, wobble=canvas.wobbles(0.05))
  swirl = 1 + 0.05 * canvas.field(0.2, smooth_z=0.3)
  canvas.paint(canvas.soft(pool), blood * swirl)
  present = np.clip(1 - 2.5 * (canvas.z - canvas.uniform(-0.3, 0.2)) ** 2, 0, 1)
  for angle in (canvas.uniform(-0.2, 0.5), canvas.uniform(1.8, 2.5)):
    px, py = x + 0.68 * radius * np.cos(angle), y + 0.68 * radius * np.sin(angle)
    size = canvas.uniform(0.035, 0.055) * present
    mask = canvas.ellipse(px, py, size, 0.75 * size, angle=angle)
    canvas.paint(mask * canvas.soft(pool), muscle)
