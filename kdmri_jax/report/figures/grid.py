"""Panels placed by the pixel, so that no image is resampled when it is drawn."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from kdmri_jax.report.figures import style

_PANEL_INCHES = 2.1
_TALLEST = 4
_LEAST_DPI = 20  # text needs a size


class Grid:
  """Rows and columns of panels; an image pixel is a whole number of figure pixels.

  Lengths are fractions of a panel's width, so all figures look the same for any matrix
  size of the images.

  Args:
    shape: rows and columns of the images.
    columns: number of panels side by side.
    heights: height of each row of panels; None for that of the images.
    above: space above each row.
    left: space at the left for row labels.
    right: space at the right.
    bottom: space below the last row.
    gap: space between the columns.
    panel: approximate width of a panel in pixels; that of images more than
      `_TALLEST` times as high as wide is smaller.
    inches: width of a panel, beside which text has its size in points.
  """

  def __init__(
    self,
    shape: tuple[int, ...],
    columns: int,
    heights: Sequence[float | None],
    above: Sequence[float],
    *,
    left: float = 0.13,
    right: float = 0.04,
    bottom: float = 0.06,
    gap: float = 0.04,
    panel: int = 440,
    inches: float = _PANEL_INCHES,
  ):
    zoom = max(1, round(panel / max(shape[1], shape[0] / _TALLEST)))
    self.columns = columns
    self.width = zoom * shape[1]
    self.heights = [
      zoom * shape[0] if height is None else self._pixels(height) for height in heights
    ]
    self.above = [self._pixels(space) for space in above]
    self.left, self.gap = self._pixels(left), self._pixels(gap)
    self.total_width = (
      self.left + columns * self.width + (columns - 1) * self.gap + self._pixels(right)
    )
    self.total_height = sum(self.heights) + sum(self.above) + self._pixels(bottom)
    dpi = max(round(self.width / inches), _LEAST_DPI)
    size = (self.total_width + 0.01) / dpi, (self.total_height + 0.01) / dpi
    self.figure: Figure = style.new_figure(*size, dpi=dpi)

  def picture(
    self,
    row: int,
    column: int,
    image: np.ndarray,
    *,
    size: tuple[int, int] | None = None,
    frame: str = "none",
    frame_width: float = 0.6,
    **kwargs: Any,
  ) -> AxesImage:
    """Shows an image without ticks at the top of a panel.

    Args:
      row: of the panel.
      column: of the panel.
      image: [H, W].
      size: height and width in pixels; None for those of the panel.
      frame: colour of a frame around it.
      frame_width: its width in points.
      **kwargs: of `Axes.imshow`.

    Returns:
      The image; its `axes` are at its own pixels.
    """
    left, top = self.corner(row, column)
    height, width = (self.heights[row], self.width) if size is None else size
    axes = self.at(left + (self.width - width) // 2, top, width, height)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=frame, linewidth=frame_width)
    return axes.imshow(image, **{"interpolation": "nearest"} | kwargs)

  def colour_bar(
    self, shown: AxesImage, place: Sequence[float], images: Iterable[np.ndarray]
  ) -> Colorbar:
    """A bar for the colours of images, with an arrow where these exceed its scale.

    Args:
      shown: one of the images.
      place: left, top, width and height in pixels.
      images: all images with its scale.
    """
    beyond = max(map(np.max, images)) > shown.norm.vmax
    _, _, width, height = place
    bar = self.figure.colorbar(
      shown,
      cax=self.at(*place),
      orientation="horizontal" if width > height else "vertical",
      extend="max" if beyond else "neither",
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=style.SMALL, length=2, color=style.QUIET)
    return bar

  def at(self, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at pixels counted from the upper left corner of the figure."""
    bottom = self.total_height - top - height
    size = self.total_width, self.total_height
    return self.figure.add_axes(np.divide((left, bottom, width, height), size * 2))

  def corner(self, row: int, column: int) -> tuple[int, int]:
    """Left and top of a panel in pixels."""
    top = sum(self.heights[:row]) + sum(self.above[: row + 1])
    return self.left + column * (self.width + self.gap), top

  def text(self, left: float, top: float, text: str, **kwargs: Any) -> None:
    """Text at pixels counted from the upper left corner of the figure."""
    at = left / self.total_width, 1 - top / self.total_height
    self.figure.text(*at, text, **{"color": style.INK, "ha": "center"} | kwargs)

  def title(self, row: int, column: int, text: str, **kwargs: Any) -> None:
    """Text above a panel."""
    left, top = self.corner(row, column)
    kwargs = {"va": "bottom", "fontsize": style.LARGE} | kwargs
    self.text(left + self.width / 2, top - self._pixels(0.035), text, **kwargs)

  def caption(self, row: int, column: int, text: str) -> None:
    """Text below a panel."""
    left, top = self.corner(row, column)
    top += self.heights[row] + self._pixels(0.03)
    self.text(left + self.width / 2, top, text, va="top", fontsize=style.NORMAL)

  def row_label(self, row: int, text: str, **kwargs: Any) -> None:
    """Text at the left of a row, read upwards."""
    top = self.corner(row, 0)[1] + self.heights[row] / 2
    kwargs = {"fontsize": style.NORMAL, "color": style.QUIET} | kwargs
    self.text(self.left / 2, top, text, va="center", rotation=90, **kwargs)

  def _pixels(self, share: float) -> int:
    return round(share * self.width)
