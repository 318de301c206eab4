"""Axial heads: scalp, skull, folded cortex, ventricles and deep grey matter."""

import numpy as np

from kdmri_jax.data.anatomy import shapes

# Intensities: scalp fat, bone, marrow, cerebrospinal fluid, grey matter, white
# matter, deep grey matter, lesion.
_T1 = np.array([0.95, 0.05, 0.35, 0.12, 0.45, 0.68, 0.52, 0.35])
_T2 = np.array([0.60, 0.04, 0.25, 0.95, 0.55, 0.36, 0.42, 0.75])


def draw(canvas: shapes.Canvas) -> None:
  """One head, anterior up; intensities about 0..1.

  The stack runs upwards from the basal ganglia to the vertex.

  Args:
    canvas: black; the same state of its generator draws the same.
  """
  canvas = canvas.posed(turn=0.06, bend=0.012)
  contrast = _T1 if canvas.rng.random() < 0.7 else _T2
  contrast = contrast * canvas.uniform(0.92, 1.08, contrast.shape)
  fat, bone, marrow, fluid, grey, white, nuclei, lesion = contrast.astype(np.float32)
  level = 0.28 + canvas.z * 0.3 + canvas.uniform(-0.05, 0.05)
  size = np.sqrt(1 - (level / 1.12) ** 2).astype(np.float32)
  width, length = canvas.uniform(0.72, 0.79) * size, canvas.uniform(0.87, 0.93) * size
  outline = {"wobble": canvas.wobbles(0.02), "angle": canvas.rng.normal() * 0.06}

  scalp = canvas.uniform(0.035, 0.06)
  skull = canvas.uniform(0.06, 0.08)
  for depth, value in (
    (0, fat),
    (scalp, bone),
    (scalp + 0.35 * skull, marrow),
    (scalp + 0.65 * skull, bone),
    (scalp + skull, fluid),
  ):
    canvas.paint(canvas.ellipse(0, 0, width - depth, length - depth, **outline), value)
  rim = scalp + skull + 0.015
  _cortex(canvas, (width - rim, length - rim), level, grey, white, fluid)
  _nuclei(canvas, level, nuclei)
  _ventricles(canvas, level, fluid)
  _lesions(canvas, lesion)


def _cortex(canvas, half_axes, level, grey, white, fluid):
  """Sulci are the zero lines of a labyrinth; grey matter covers them and the rim."""
  outline = canvas.wobbles(0.015)
  surface = canvas.ellipse_distance(0, 0, *half_axes, wobble=outline)
  inside = canvas.soft(surface)
  midline = np.abs(canvas.x + 0.008 * np.sin(9 * canvas.y))
  bridge = np.clip(1.5 - np.abs(canvas.y + 0.02) / 0.3, 0, 1)
  bridge = bridge * np.clip((0.45 - level) / 0.15, 0, 1)
  depth = np.minimum(surface, midline + 0.3 * bridge)
  wavelength = canvas.uniform(0.21, 0.26)
  folds = np.abs(canvas.field(wavelength, smooth_z=0.5, band=0.35))
  slope = np.float32(wavelength / 8)
  ribbon = np.maximum((1.5 - 4.6 * depth - folds) * slope, 0.045 - depth)
  sulci = np.maximum((0.33 - 2.0 * depth - folds) * slope, 0.007 - depth)
  canvas.paint(inside, white)
  canvas.paint(inside * canvas.soft(ribbon), grey)
  canvas.paint(inside * canvas.soft(sulci), fluid)
  for side in (-1, 1):
    start = (side * (half_axes[0] + 0.02), -0.08 + 0.3 * level)
    end = (side * (0.66 * half_axes[0]), 0.02 + 0.2 * level)
    deep = 0.016 - 0.08 * np.clip(level - 0.1, 0, 1)
    canvas.paint(inside * canvas.capsule(start, end, deep), fluid)


def _nuclei(canvas, level, value):
  fade = np.clip(1 - np.maximum(level - 0.1, 0) / 0.22, 0, 1) ** 0.5
  scale = canvas.uniform(0.9, 1.1)
  for side in (-1, 1):
    tilt = side * canvas.uniform(0.3, 0.45)
    for x, y, a, b, turn in (
      (0.105, 0.13, 0.085, 0.125, -0.6),  # thalamus
      (0.265, -0.02, 0.055, 0.155, -0.7),  # putamen
      (0.135, -0.17, 0.042, 0.085, 0.5),  # caudate nucleus
    ):
      place, size = (side * x * scale, y * scale), (a * fade * scale, b * fade * scale)
      canvas.paint(canvas.ellipse(*place, *size, angle=turn * tilt), value)


def _ventricles(canvas, level, value):
  fade = np.clip((0.5 - level) / 0.25, 0, 1) ** 0.5
  wide = canvas.uniform(0.7, 1.5)
  for side in (-1, 1):
    grow = wide * canvas.uniform(0.9, 1.1)
    body = np.clip((level - 0.08) / 0.12, 0, 1)
    near, far = 0.045 + 0.015 * grow, 0.09 + 0.05 * grow
    front, back = (side * near, -0.1), (side * (near + 0.05), 0.18)
    for start, end, width in (
      (front, (side * far, -0.28), 0.034 * grow * fade),
      (back, (side * (far + 0.06), 0.36), 0.036 * grow * fade),
      (front, back, 0.03 * grow * fade * body),
    ):
      canvas.paint(canvas.capsule(start, end, width), value)
  third = 0.016 * wide * np.clip((0.16 - level) / 0.1, 0, 1)
  canvas.paint(canvas.capsule((0, 0.04), (0, 0.2), third), value)


def _lesions(canvas, value):
  for _ in range(canvas.rng.integers(0, 7)):
    angle, distance = canvas.uniform(0, 2 * np.pi), canvas.uniform(0.25, 0.42)
    reach = canvas.uniform(0.015, 0.04)
    away = (canvas.z - canvas.uniform(-1, 1)) / 0.4
    size = reach * np.sqrt(np.clip(1 - away**2, 0, 1))
    centre = (distance * np.cos(angle), 1.2 * distance * np.sin(angle))
    mask = canvas.ellipse(*centre, size, size * canvas.uniform(0.6, 1))
    canvas.paint(0.8 * mask, value)
