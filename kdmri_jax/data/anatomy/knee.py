"""Sagittal knees: femur, tibia, patella, cartilage, menisci, tendons, muscle, skin."""

import numpy as np

from kdmri_jax.data.anatomy import shapes

# Intensities: marrow, cortical bone and tendon, cartilage, muscle, subcutaneous
# fat, joint fluid.
_PROTON_DENSITY = np.array([0.72, 0.06, 0.5, 0.36, 0.9, 0.62])
_FAT_SUPPRESSED = np.array([0.22, 0.05, 0.8, 0.45, 0.3, 0.98])


def draw(canvas: shapes.Canvas) -> None:
  """One knee, patella left, femur up; intensities about 0..1.

  The stack runs from one condyle through the notch to the other.

  Args:
    canvas: black; the same state of its generator draws the same.
  """
  canvas = canvas.posed(zoom=1.1, turn=0.07, bend=0.012)
  contrast = _PROTON_DENSITY if canvas.rng.random() < 0.6 else _FAT_SUPPRESSED
  contrast = contrast * canvas.uniform(0.92, 1.08, contrast.shape)
  marrow, dark, cartilage, muscle, fat, fluid = contrast.astype(np.float32)
  shift = np.float32(canvas.rng.normal() * 0.03)
  bulge = 0.12 * np.exp(-(((canvas.y + 0.05) / 0.45) ** 2))
  front = canvas.x + 0.62 + bulge + 0.05 * np.sin(2 * canvas.y + shift)
  rear = 0.7 + 0.08 * np.cos(3 * canvas.y + 0.6) - 0.05 * canvas.z**2 - canvas.x
  skin = np.minimum(front, rear) + 0 * canvas.z
  layer = canvas.uniform(0.05, 0.1)
  canvas.paint(canvas.soft(skin), fat)
  _muscles(canvas, skin - layer, muscle, fat, dark)
  spongy = marrow * (1 + 0.07 * canvas.field(0.05, smooth_z=0.2))
  bone = (dark, spongy, cartilage)
  _extensor(canvas, bone, fat, fluid, shift)
  _femur_and_tibia(canvas, bone, fluid, shift)


def _muscles(canvas, inside, muscle, fat, dark):
  warp = 0.25 * canvas.field(0.5)
  fibres = 0.06 * np.sin(40 * canvas.x - 6 * canvas.y + 3 * warp)
  canvas.paint(canvas.soft(inside), muscle * (1 + fibres))
  septa = np.abs(canvas.field(0.55, smooth_z=0.8))
  lines = canvas.soft(0.015 - 0.12 * septa) * canvas.soft(inside)
  canvas.paint(lines * canvas.soft(canvas.x - 0.2), fat)
  hollow = canvas.ellipse(0.42, 0.02, 0.14, 0.42, angle=0.1)
  canvas.paint(hollow * canvas.soft(inside), 0.92 * fat)
  side = 0.05 * canvas.z
  start, end = (0.4 + side, -0.7), (0.43 + side, 0.75)
  width = 0.035 * np.clip(1.3 - 2 * np.abs(canvas.z - canvas.uniform(-0.4, 0.4)), 0, 1)
  canvas.paint(canvas.capsule(start, end, width), dark + 0.1)


def _extensor(canvas, bone, fat, fluid, shift):
  """Quadriceps tendon, patella, patellar ligament and the fat pad behind it."""
  dark, marrow, cartilage = bone
  x, y = -0.53 + shift, canvas.uniform(-0.28, -0.2)
  near = np.clip(1.15 - 0.6 * canvas.z**2, 0, 1)
  pad = canvas.ellipse(-0.38 + shift, 0.13, 0.17, 0.25, angle=-0.35)
  canvas.paint(pad * near, 0.95 * fat)
  pouch = canvas.capsule((-0.38 + shift, -0.55), (-0.37 + shift, -0.25), 0.016 * near)
  canvas.paint(pouch, fluid)
  width, above, below = 0.032 * near, (x, y - 0.12), (x, y + 0.12)
  canvas.paint(canvas.capsule((-0.46 + shift, -1.8), above, width), dark)
  canvas.paint(canvas.capsule(below, (-0.4 + shift, 0.55), width), dark)
  shape = {"power": 2.4, "angle": canvas.uniform(-0.1, 0.15)}
  a, b = 0.12 * near, canvas.uniform(0.19, 0.22) * near
  canvas.paint(canvas.ellipse(x + 0.035, y, a, 0.85 * b, **shape), cartilage)
  canvas.paint(canvas.ellipse(x, y, a, b, **shape), dark)
  canvas.paint(canvas.ellipse(x, y, a - 0.022, b - 0.022, **shape), marrow)


def _femur_and_tibia(canvas, bone, fluid, shift):
  dark, marrow, cartilage = bone
  notch = np.exp(-((canvas.z / 0.28) ** 2))
  tilt = canvas.uniform(-0.08, 0.05)
  joint = canvas.uniform(0.12, 0.2)
  radius = canvas.uniform(0.29, 0.33) - 0.03 * notch
  x, rear = shift + 0.02 * canvas.z, (0.24 - 0.12 * notch, 0.25 - 0.1 * notch)
  condyle = _union(
    canvas.ellipse_distance(x, joint - 0.36, radius, 0.3 - 0.07 * notch, power=2.3),
    canvas.ellipse_distance(x + 0.14, joint - 0.3, *rear),
    _shaft(canvas, x - 0.03, -0.25, 0.2 - 0.02 * canvas.z**2, tilt, upwards=True),
  )
  plateau = _union(
    canvas.ellipse_distance(x + 0.04, joint + 0.24, 0.37, 0.21, power=3.5),
    _shaft(canvas, x + 0.03, joint + 0.3, 0.22, tilt, upwards=False),
    canvas.ellipse_distance(x - 0.25, joint + 0.36, 0.1, 0.14),
  )
  covers = (canvas.y > -0.45, canvas.y < joint + 0.2)
  for distance, cover in zip((condyle, plateau), covers, strict=True):
    thick = 0.045 * cover * np.clip(1.3 - np.abs(canvas.x - x) / 0.35, 0, 1)
    canvas.paint(canvas.soft(distance + thick + 0.012), fluid)
    canvas.paint(canvas.soft(distance + thick), cartilage)
    canvas.paint(canvas.soft(distance), dark)
    canvas.paint(canvas.soft(distance - 0.022), marrow)
  plate = 0.011 - np.abs(canvas.y - joint - 0.33 - 0.03 * np.sin(7 * canvas.x))
  line = canvas.soft(plate + 0 * canvas.z) * canvas.soft(plateau - 0.05)
  canvas.paint(0.6 * line, dark)
  space = np.minimum(-condyle, -plateau) - 0.02
  space = np.minimum(space, 0.11 - np.abs(canvas.y - joint))
  for side, reach in ((-1, 0.33), (1, 0.36)):
    along = side * (canvas.x - x - 0.03)
    meniscus = np.minimum(space, np.minimum(reach - along, along - 0.13 - 0.3 * notch))
    canvas.paint(canvas.soft(meniscus), dark)
  for start, end in (((-0.1, 0.16), (0.15, -0.18)), ((0.22, 0.2), (0.02, -0.12))):
    foot = (x + start[0], joint + start[1] - 0.1)
    head = (x + end[0], joint + end[1] - 0.05)
    mask = canvas.capsule(foot, head, 0.034 * (notch > 0.2) * notch)
    between = 1 - canvas.soft(np.maximum(condyle, plateau) + 0.01)
    canvas.paint(mask * between, dark + np.float32(0.08))


def _union(*distances, smooth=0.06):
  """Union of shapes by their distances, with the inner corners rounded."""
  joined = distances[0]
  for other in distances[1:]:
    near = np.clip(smooth - np.abs(joined - other), 0, None)
    joined = np.maximum(joined, other) + near * near / (4 * smooth)
  return joined


def _shaft(canvas, x, y, half_width, tilt, *, upwards):
  """A bone's shaft: widens towards the joint at height `y`, open at the other end."""
  away = (y - canvas.y) if upwards else (canvas.y - y)
  flare = 0.08 * np.exp(-np.clip(away, 0, None) / 0.18)
  side = half_width - 0.02 + flare - np.abs(canvas.x - x - tilt * away)
  return np.minimum(side, away).astype(np.float32)
