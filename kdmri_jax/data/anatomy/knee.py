"""Sagittal knees: femur, tibia, patella, cartilage, menisci, tendons, muscle, skin."""

import numpy as np

from kdmri_jax.data.anatomy import shapes

# Intensities: marrow, cortical bone and tendon, cartilage, muscle, subcutaneous
# fat, joint fluid.
_PROTON_DENSITY = np.array([0.72, 0.06, 0.5, 0.36, 0.9, 0.62])
_FAT_SUPPRESSED = np.array([0.22, 0.05, 0.8, 0.45, 0.3, 0.98])


def draw(grid: shapes.Grid, rng: np.random.Generator) -> np.ndarray:
  """One knee, float32 [S, H, W], patella left, femur up; intensities about 0..1.

  The stack runs from one condyle through the notch to the other.

  Args:
    grid: coordinates.
    rng: NumPy generator; the same state draws the same knee.
  """
  grid = shapes.posed(grid, rng, zoom=1.1, turn=0.07, bend=0.012)
  contrast = _PROTON_DENSITY if rng.random() < 0.6 else _FAT_SUPPRESSED
  contrast = contrast * rng.uniform(0.92, 1.08, contrast.shape)
  marrow, dark, cartilage, muscle, fat, fluid = contrast.astype(np.float32)
  image = np.zeros(grid.shape, np.float32)
  shift = np.float32(rng.normal() * 0.03)
  bulge = 0.12 * np.exp(-(((grid.y + 0.05) / 0.45) ** 2))
  front = grid.x + 0.62 + bulge + 0.05 * np.sin(2 * grid.y + shift)
  rear = 0.7 + 0.08 * np.cos(3 * grid.y + 0.6) - 0.05 * grid.z**2 - grid.x
  skin = np.minimum(front, rear) + 0 * grid.z
  layer = rng.uniform(0.05, 0.1)
  shapes.paint(image, shapes.soft(grid, skin), fat)
  _muscles(image, grid, rng, skin - layer, (muscle, fat, dark))
  spongy = marrow * (1 + 0.07 * shapes.field(grid, rng, 0.05, smooth_z=0.2))
  bone = {"dark": dark, "marrow": spongy, "cartilage": cartilage}
  _extensor(image, grid, rng, (fat, dark, fluid), bone, shift)
  _femur_and_tibia(image, grid, rng, bone, fluid, shift)
  return image


def _muscles(image, grid, rng, inside, tissue):
  muscle, fat, dark = tissue
  warp = 0.25 * shapes.field(grid, rng, 0.5)
  fibres = 0.06 * np.sin(40 * grid.x - 6 * grid.y + 3 * warp)
  shapes.paint(image, shapes.soft(grid, inside), muscle * (1 + fibres))
  septa = np.abs(shapes.field(grid, rng, 0.55, smooth_z=0.8))
  lines = shapes.soft(grid, 0.015 - 0.12 * septa) * shapes.soft(grid, inside)
  shapes.paint(image, lines * shapes.soft(grid, grid.x - 0.2), fat)
  hollow = shapes.ellipse(grid, 0.42, 0.02, 0.14, 0.42, angle=0.1)
  shapes.paint(image, hollow * shapes.soft(grid, inside), 0.92 * fat)
  side = 0.05 * grid.z
  start, end = (0.4 + side, -0.7), (0.43 + side, 0.75)
  width = 0.035 * np.clip(1.3 - 2 * np.abs(grid.z - rng.uniform(-0.4, 0.4)), 0, 1)
  shapes.paint(image, shapes.capsule(grid, start, end, width), dark + 0.1)


def _extensor(image, grid, rng, tissue, bone, shift):
  """Quadriceps tendon, patella, patellar ligament and the fat pad behind it."""
  fat, dark, fluid = tissue
  x, y = -0.53 + shift, rng.uniform(-0.28, -0.2)
  near = np.clip(1.15 - 0.6 * grid.z**2, 0, 1)
  pad = shapes.ellipse(grid, -0.38 + shift, 0.13, 0.17, 0.25, angle=-0.35)
  shapes.paint(image, pad * near, 0.95 * fat)
  pouch = shapes.capsule(
    grid, (-0.38 + shift, -0.55), (-0.37 + shift, -0.25), 0.016 * near
  )
  shapes.paint(image, pouch, fluid)
  width = 0.032 * near
  tendons = (
    ((-0.46 + shift, -1.8), (x, y - 0.12)),
    ((x, y + 0.12), (-0.4 + shift, 0.55)),
  )
  for start, end in tendons:
    shapes.paint(image, shapes.capsule(grid, start, end, width), dark)
  shape = {"power": 2.4, "angle": rng.uniform(-0.1, 0.15)}
  a, b = 0.12 * near, rng.uniform(0.19, 0.22) * near
  rear = shapes.ellipse(grid, x + 0.035, y, a, 0.85 * b, **shape)
  shapes.paint(image, rear, bone["cartilage"])
  shapes.paint(image, shapes.ellipse(grid, x, y, a, b, **shape), dark)
  shapes.paint(
    image, shapes.ellipse(grid, x, y, a - 0.022, b - 0.022, **shape), bone["marrow"]
  )


def _femur_and_tibia(image, grid, rng, bone, fluid, shift):
  notch = np.exp(-((grid.z / 0.28) ** 2))
  tilt = rng.uniform(-0.08, 0.05)
  joint = rng.uniform(0.12, 0.2)
  radius = rng.uniform(0.29, 0.33) - 0.03 * notch
  x = shift + 0.02 * grid.z
  condyle = _union(
    shapes.ellipse_distance(
      grid, x, joint - 0.36, radius, 0.3 - 0.07 * notch, power=2.3
    ),
    shapes.ellipse_distance(
      grid, x + 0.14, joint - 0.3, 0.24 - 0.12 * notch, 0.25 - 0.1 * notch
    ),
    _shaft(grid, x - 0.03, -0.25, 0.2 - 0.02 * grid.z**2, tilt, upwards=True),
  )
  plateau = _union(
    shapes.ellipse_distance(grid, x + 0.04, joint + 0.24, 0.37, 0.21, power=3.5),
    _shaft(grid, x + 0.03, joint + 0.3, 0.22, tilt, upwards=False),
    shapes.ellipse_distance(grid, x - 0.25, joint + 0.36, 0.1, 0.14),
  )
  for distance, cover in ((condyle, grid.y > -0.45), (plateau, grid.y < joint + 0.2)):
    thick = 0.045 * cover * np.clip(1.3 - np.abs(grid.x - x) / 0.35, 0, 1)
    shapes.paint(image, shapes.soft(grid, distance + thick + 0.012), fluid)
    shapes.paint(image, shapes.soft(grid, distance + thick), bone["cartilage"])
    shapes.paint(image, shapes.soft(grid, distance), bone["dark"])
    shapes.paint(image, shapes.soft(grid, distance - 0.022), bone["marrow"])
  plate = 0.011 - np.abs(grid.y - joint - 0.33 - 0.03 * np.sin(7 * grid.x))
  line = shapes.soft(grid, plate + 0 * grid.z) * shapes.soft(grid, plateau - 0.05)
  shapes.paint(image, 0.6 * line, bone["dark"])
  space = np.minimum(-condyle, -plateau) - 0.02
  space = np.minimum(space, 0.11 - np.abs(grid.y - joint))
  for side, reach in ((-1, 0.33), (1, 0.36)):
    along = side * (grid.x - x - 0.03)
    meniscus = np.minimum(space, np.minimum(reach - along, along - 0.13 - 0.3 * notch))
    shapes.paint(image, shapes.soft(grid, meniscus), bone["dark"])
  for start, end in (((-0.1, 0.16), (0.15, -0.18)), ((0.22, 0.2), (0.02, -0.12))):
    foot = (x + start[0], joint + start[1] - 0.1)
    head = (x + end[0], joint + end[1] - 0.05)
    mask = shapes.capsule(grid, foot, head, 0.034 * (notch > 0.2) * notch)
    between = 1 - shapes.soft(grid, np.maximum(condyle, plateau) + 0.01)
    shapes.paint(image, mask * between, bone["dark"] + np.float32(0.08))


def _union(*distances, smooth=0.06):
  """Union of shapes by their distances, with the inner corners rounded."""
  joined = distances[0]
  for other in distances[1:]:
    near = np.clip(smooth - np.abs(joined - other), 0, None)
    joined = np.maximum(joined, other) + near * near / (4 * smooth)
  return joined


def _shaft(grid, x, y, half_width, tilt, *, upwards):
  """A bone's shaft: widens towards the joint at height `y`, open at the other end."""
  away = (y - grid.y) if upwards else (grid.y - y)
  flare = 0.08 * np.exp(-np.clip(away, 0, None) / 0.18)
  side = half_width - 0.02 + flare - np.abs(grid.x - x - tilt * away)
  return np.minimum(side, away).astype(np.float32)
