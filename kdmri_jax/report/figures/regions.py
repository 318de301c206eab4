"""The regions in which the signal-to-noise ratio was measured."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kdmri_jax.report.figures import style


def regions(pictures: Sequence[tuple]) -> Figure:
  """Slices side by side with their regions as boxes.

  Args:
    pictures: (title, image [H, W], regions as `roi_snr.Roi`) of each slice.
  """
  figure = style.new_figure(2.6 * len(pictures), 2.9, layout="constrained")
  panels = figure.subplots(1, len(pictures), squeeze=False)[0]
  for axes, (title, image, found) in zip(panels, pictures, strict=True):
    axes.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.7) or 1)
    axes.set_title(title, fontsize=style.SMALL, color=style.INK)
    axes.axis("off")
    for roi in found:
      style.box(axes, roi.column, roi.row, roi.width, roi.height)
  return figure
