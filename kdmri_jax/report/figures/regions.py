"""The regions in which the signal-to-noise ratio was measured."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Rectangle

from kdmri_jax.report.figures import style

_BOX = "#FFD34E"


def regions(path: str | os.PathLike, pictures: Sequence[tuple]) -> pathlib.Path:
  """Slices side by side with their regions as boxes.

  Args:
    path: PNG to write.
    pictures: (title, image [H, W], regions as `roi_snr.Roi`) of each slice.

  Returns:
    The path.
  """
  figure = style.new_figure(2.6 * len(pictures), 2.9, layout="constrained")
  for axes, (title, image, found) in zip(
    np.atleast_1d(figure.subplots(1, len(pictures))), pictures, strict=True
  ):
    axes.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.7) or 1)
    axes.set_title(title, fontsize=style.SMALL, color=style.INK)
    axes.axis("off")
    for roi in found:
      place = (roi.column - 0.5, roi.row - 0.5)
      axes.add_patch(
        Rectangle(place, roi.width, roi.height, fill=False, edgecolor=_BOX, lw=1.2)
      )
  return style.save(figure, path)
