"""Properties of a mask: axis, acceleration, fully sampled centre, symmetry, order."""

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
  """Properties of a mask for a report.

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


def mirrored(mask: np.ndarray) -> float:
  """Share of the samples k of a mask whose mirror -k is sampled, too.

  For a real image, k and -k measure the same number. A symmetric mask gives 1.

  Args:
    mask: uncentred, [H, W], with at least one sample.

  Returns:
    0 to 1.
  """
  mask = np.asarray(mask) != 0
  return shared(mask, np.roll(mask[::-1, ::-1], 1, (0, 1)))


def shared(mask: np.ndarray, other: np.ndarray) -> float:
  """Share of the samples of a mask that the other mask also has; 0 to 1.

  For Cartesian masks of one axis it is the share of their lines. Exchanging masks with
  different numbers of samples changes the result.

  Args:
    mask: [H, W], with at least one sample.
    other: [H, W], in the same order.
  """
  mask, other = np.asarray(mask) != 0, np.asarray(other) != 0
  return float((mask & other).sum() / mask.sum())


def is_centred(mask: np.ndarray) -> bool:
  """Whether the low frequencies are sampled in the middle rather than at [0, 0].

  The middle is the denser part, and its fully sampled block is larger by more lines
  than in one of twenty random masks of this density. False also where a mask gives no
  evidence, such as full sampling.

  Args:
    mask: uint8 [H, W] of 0 and 1.
  """
  zero = np.fft.fftshift(mask)
  if not mask[0, 0]:
    return centre_side(mask) > 0
  chance = float(mask.mean()) ** (centre_side(mask) - centre_side(zero))
  return chance < 0.05 and _density(mask) > _density(zero)


def middle(shape: tuple[int, ...], side: int) -> tuple[slice, ...]:
  """The slices that cut a block of this side from the middle of a centred array."""
  return tuple(slice(n // 2 - side // 2, n // 2 - side // 2 + side) for n in shape)


def centre_side(centred: np.ndarray) -> int:
  """Side of the largest fully sampled block about the middle."""
  side, shape = 0, centred.shape
  while side < min(shape) and centred[middle(shape, side + 1)].all():
    side += 1
  return side


def _density(centred: np.ndarray) -> float:
  """Sampled share of the lower half of the frequencies of each axis."""
  side = tuple(slice(n // 4, n - n // 4) for n in centred.shape)
  return float(centred[side].mean())
