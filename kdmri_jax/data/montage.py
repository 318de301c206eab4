"""A sheet of small pictures as overview of prepared data."""

import io
from collections.abc import Sequence

import numpy as np

_MOST = 36


def montage_png(labels: Sequence[str], images: Sequence[np.ndarray]) -> bytes:
  """Draws up to 36 images, evenly chosen, as a labelled sheet.

  Args:
    labels: one text per image.
    images: two-dimensional arrays of any shape, each shown on its own grey scale.

  Returns:
    A PNG file.
  """
  from matplotlib.figure import Figure

  chosen = np.unique(
    np.linspace(0, len(images) - 1, min(len(images), _MOST)).astype(int)
  )
  columns = int(np.ceil(np.sqrt(len(chosen))))
  rows = int(np.ceil(len(chosen) / columns))
  figure = Figure(figsize=(2 * columns, 2.2 * rows), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for axis in axes:
    axis.axis("off")
  for axis, k in zip(axes, chosen, strict=False):
    axis.imshow(images[k], cmap="gray")
    axis.set_title(labels[k], fontsize=7)
  if len(chosen) < len(images):
    figure.suptitle(f"{len(chosen)} of {len(images)} volumes", fontsize=8)
  buffer = io.BytesIO()
  figure.savefig(buffer, format="png", dpi=80)
  return buffer.getvalue()
