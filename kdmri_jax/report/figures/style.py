"""The common style of all figures: colours by model, sizes, and file output."""

import io
import itertools
import math
import operator
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdmri_jax.saving import make_folder, replacing

INK = "#222222"
QUIET = "#767676"
GRID = "#e4e4e4"
BOX = "#FFD34E"
SMALL, NORMAL, LARGE = 9, 10, 11
READABLE = 4.5  # least contrast of text (WCAG 2, level AA)

_FIXED = {
  "input": "#767676",
  "zero_filled": "#767676",
  "target": "#222222",
  "teacher": "#0072B2",
  "student": "#E69F00",
  "kd": "#009E73",
  "feature": "#CC79A7",
}
_STAGES_BESIDE = 4
_MORE = (
  *("#D55E00", "#56B4E9", "#8C6D31", "#7B4EA3"),
  *("#A3123F", "#8FA000", "#444A57"),
)


def colours(names: Iterable[str]) -> dict[str, str]:
  """One colour per model; use one list of names for all figures.

  Args:
    names: model or stage names; the common ones have fixed colours (Okabe & Ito,
      suitable for colour-blind readers), others get further colours in turn.

  Returns:
    Name -> hexadecimal colour.
  """
  more = itertools.cycle(_MORE)
  return {name: _FIXED.get(name) or next(more) for name in names}


def contrast(colour: str, ground: str = "#ffffff") -> float:
  """The contrast of two colours, 1 to 21.

  Source: WCAG 2.2, contrast ratio of relative luminances.
  """
  bright, dark = sorted(map(_luminance, (colour, ground)), reverse=True)
  return (bright + 0.05) / (dark + 0.05)


def for_text(colour: str) -> str:
  """A colour for text on white: darkened until its contrast is `READABLE`."""
  red, green, blue = to_rgb(colour)
  shade = 1.0
  while (
    contrast(found := to_hex((shade * red, shade * green, shade * blue))) < READABLE
  ):
    shade -= 0.01
  return found


def _luminance(colour):
  linear = [
    value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
    for value in to_rgb(colour)
  ]
  return sum(map(operator.mul, (0.2126, 0.7152, 0.0722), linear))


class _Shown(Figure):
  """A figure that notebooks show, whether or not pyplot has been imported there."""

  def _repr_png_(self) -> bytes:
    return png(self)


def new_figure(width: float, height: float, *, dpi: int = 200, **kwargs: Any) -> Figure:
  """An empty white figure; width and height in inches."""
  figure = _Shown(figsize=(width, height), dpi=dpi, facecolor="white", **kwargs)
  FigureCanvasAgg(figure)
  return figure


def stage_axes(
  stages: Iterable[str], colours: dict[str, str], labels: tuple[str, str]
) -> tuple[Figure, dict]:
  """Two panels above each other for each stage, at most four stages side by side.

  Args:
    stages: names of the stages; they head their panels.
    colours: stage -> its colour.
    labels: titles of the vertical axes of the upper and the lower panel.

  Returns:
    The figure, and stage -> (upper, lower) axes, which share the horizontal axis.
  """
  stages = list(stages)
  bands = math.ceil(len(stages) / _STAGES_BESIDE)
  beside = math.ceil(len(stages) / bands)
  figure = new_figure(2.5 * beside + 0.4, 3.9 * bands, layout="constrained")
  grid = figure.add_gridspec(2 * bands, beside)
  pairs = {}
  for index, stage in enumerate(stages):
    band, column = divmod(index, beside)
    upper = figure.add_subplot(grid[2 * band, column])
    lower = figure.add_subplot(grid[2 * band + 1, column], sharex=upper)
    upper.tick_params(labelbottom=False)
    colour = for_text(colours[stage])
    upper.set_title(stage, fontsize=LARGE, color=colour, weight="bold")
    for axes, label in zip((upper, lower), labels, strict=True):
      quiet_axes(axes)
      if column == 0:
        axes.set_ylabel(label, fontsize=NORMAL)
    pairs[stage] = upper, lower
  figure.align_ylabels([axes for pair in pairs.values() for axes in pair])
  return figure, pairs


def png(figure: Figure) -> bytes:
  """A figure as a PNG file's content."""
  stream = io.BytesIO()
  figure.savefig(stream, format="png")
  return stream.getvalue()


def pdf(figure: Figure) -> bytes:
  """A figure as a PDF file's content: text and lines as such, images by their pixels.

  Fonts are embedded as TrueType, which journals ask for. Neither date nor program is
  stored, so the same figure has the same bytes.

  Args:
    figure: its images are from then on drawn without resampling.
  """
  for axes in figure.axes:
    for image in axes.images:
      image.set_interpolation("none")
  stream = io.BytesIO()
  nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
  with matplotlib.rc_context({"pdf.fonttype": 42}):
    figure.savefig(stream, format="pdf", metadata=nothing)
  return stream.getvalue()


def save(figure: Figure, path: str | os.PathLike) -> pathlib.Path:
  """Writes a PNG completely or not at all; returns its path.

  Raises:
    UserError: it cannot be written, or its folder cannot be made.
  """
  path, content = pathlib.Path(path), png(figure)
  make_folder(path.parent)
  with replacing(path) as temporary:
    temporary.write_bytes(content)
  return path


def legend(axes: Axes, *, on: Axes | None = None, **kwargs: Any) -> None:
  """A small legend that names each label of `axes` once; it stands there or on `on`."""
  handles, labels = axes.get_legend_handles_labels()
  once = dict(zip(labels, handles, strict=True))
  (on or axes).legend(once.values(), once.keys(), fontsize=SMALL, **kwargs)


def box(axes: Axes, left: int, top: int, width: int, height: int) -> None:
  """A yellow frame around pixels of an image."""
  place = (left - 0.5, top - 0.5)
  frame = Rectangle(place, width, height, fill=False, edgecolor=BOX, linewidth=1.1)
  axes.add_patch(frame)


def quiet_axes(axes: Axes) -> None:
  """A plot with two spines, a light grid and small ticks."""
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["left", "bottom"]].set_color(QUIET)
  axes.tick_params(labelsize=SMALL, colors=INK, length=2.5, color=QUIET)
  axes.grid(True, color=GRID, linewidth=0.6)
  axes.set_axisbelow(True)
