"""Whether two volumes have one orientation, by their images alone."""

import itertools

import numpy as np

_ALIKE = 0.98  # correlation of images that are not tried in other orientations


def better(target: np.ndarray, prediction: np.ndarray) -> str:
  """The change in orientation with which two volumes correlate far better, in words.

  Args:
    target: real [S, H, W].
    prediction: of the same shape.

  Returns:
    Such as "with slices and rows reversed"; "" where they fit best as they are.
  """
  target, prediction = target - target.mean(), prediction - prediction.mean()
  scale = np.sqrt(np.vdot(target, target) * np.vdot(prediction, prediction))
  correlation = np.vdot(target, prediction) / max(scale, 1e-300)
  if correlation > _ALIKE or not scale:
    return ""
  best, words = (1 + correlation) / 2, ""  # half of what is missing
  square = target.shape[1] == target.shape[2]
  for *flips, exchanged in itertools.product((False, True), repeat=4):
    if exchanged and not square:
      continue
    turned = prediction[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    turned = turned.swapaxes(1, 2) if exchanged else turned
    found = np.vdot(target, turned) / scale
    if found > best:
      names = ("slices", "rows", "columns")
      reversed_ = [name for name, flip in zip(names, flips, strict=True) if flip]
      parts = [f"{' and '.join(reversed_)} reversed"] if reversed_ else []
      parts += ["rows and columns exchanged"] if exchanged else []
      best, words = found, ", ".join(parts)
  return f"with {words}" if words else ""
