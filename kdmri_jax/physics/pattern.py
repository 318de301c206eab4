"""What a mask looks like: its axis, its acceleration, its fully sampled centre."""

import numpy as np


def is_cartesian(mask: np.ndarray, axis: int) -> bool:
  """Whether masks [..., H, W] vary along the phase-encode `axis` (0 or 1) only."""
  mask = np.asarray(mask) != 0
  line = mask[..., :1] if axis == 0 else mask[..., :1, :]
  return bool((mask == line).all())


def phase_encode_axis(mask: np.ndarray) -> int | None:
  """The axis along which Cartesian masks [..., H, W] vary: 0, 1, or None.

  None: not Cartesian. A mask that varies along neither axis gives 0.
  """
  return next((axis for axis in (0, 1) if is_cartesian(mask, axis)), None)


def describe(mask: np.ndarray) -> dict:
  """What a report says about a mask.

  Args:
    mask: uncentred, [H, W].

  Returns:
    "axis": phase-encode axis, None for a 2-D mask; "sampled_lines": None for a 2-D
    mask; "acceleration": mask size / samples; "centre_lines": fully sampled lines
    about zero frequency, the side of the square for a 2-D mask.
  """
  mask = np.asarray(mask) != 0
  axis = phase_encode_axis(mask)
  line = {None: mask, 0: mask[:, 0], 1: mask[0]}[axis]
  return {
    "axis": axis,
    "sampled_lines": None if axis is None else int(line.sum()),
    "acceleration": float(mask.size / max(mask.sum(), 1)),
    "centre_lines": centre_side(np.fft.fftshift(line)),
  }


def middle(shape: tuple[int, ...], side: int) -> tuple[slice, ...]:
  """The slices that cut a block of this side from the middle of a centred array."""
  return tuple(slice(n // 2 - side // 2, n // 2 - side // 2 + side) for n in shape)


def centre_side(centred: np.ndarray) -> int:
  """Side of the largest fully sampled block about the middle."""
  sides = range(1, min(centred.shape) + 1)
  shape = centred.shape
  full = (centred[middle(shape, side)].all() for side in sides)
  return next(
    (side - 1 for side, ok in zip(sides, full, strict=True) if not ok), sides[-1]
  )
