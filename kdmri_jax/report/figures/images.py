"""Figures made of images: the comparison, attention maps, the mask and regions."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from kdmri_jax.metrics import Metric, quality
from kdmri_jax.report import wording
from kdmri_jax.report.figures import style
from kdmri_jax.report.figures.grid import Grid

_WHITE = 99.7
_INPUTS = ("input", "zero_filled")


def comparison(
  images: Mapping[str, ArrayLike],
  *,
  metrics: Sequence[Metric],
  data_range: float | None = None,
  colours: dict[str, str] | None = None,
) -> Figure:
  """The paper's figure: images, an enlarged region, and the residues.

  Three rows: every image with its metrics; the region in the yellow box
  enlarged, where the target has the strongest structure away from the border; and
  |image - target|, all on one scale. Grey values run from 0 to the target's 99.7th
  percentile, and a pixel of the image is a whole number of pixels of the figure.

  Args:
    images: name -> image [H, W] in the order of the columns, one of them "target".
    metrics: the metrics whose values are written below the images.
    data_range: range of the metrics; the target's own maximum where None.
    colours: colour of each title; `figures.colours` of them where None.
  """
  images = {name: np.asarray(image, np.float64) for name, image in images.items()}
  target = images["target"]
  grid = Grid(target.shape, len(images), (None, 1, None), (0.14, 0.14, 0.04))
  colours = style.colours(images) | (colours or {})
  scores = {
    name: _scores(target, image, metrics, data_range or target.max())
    for name, image in images.items()
  }
  scores["target"] = " / ".join(metric.title for metric in metrics)
  _image_rows(grid, images, scores, colours)
  residues = {name: abs(image - target) for name, image in images.items()}
  _residue_row(grid, 2, residues, smallest=1e-5 * (target.max() or 1.0))
  for row, label in enumerate(("image", "enlarged", "residue")):
    grid.row_label(row, label)
  return grid.figure


def attention_maps(maps: dict, *, colours: dict[str, str] | None = None) -> Figure:
  """Attention maps of every cascade, and their residues to the teacher's.

  Each map is divided by its L2 norm (KD-MRI eq. 3 and appendix D). All maps share
  one scale, all residues |teacher - model| another; the L2 norm of each residue is
  written on it.

  Args:
    maps: name -> maps [K, H, W], one map for each of K cascades; the first is the
      teacher.
    colours: colour of each label; `figures.colours` of them where None.
  """
  maps = {name: normalised(values) for name, values in maps.items()}
  (teacher, reference), *others = maps.items()
  residues = {name: abs(reference - values) for name, values in others}
  count, *shape = reference.shape
  rows = len(maps) + len(residues)
  above = [0.14] + [0.04] * (len(maps) - 1) + [0.07] + [0.04] * (len(residues) - 1)
  space = {"left": 0.24, "right": 0.65}
  heights = [None] * rows
  grid = Grid(shape, count, heights, above[:rows], **space, panel=260, inches=1.6)
  colours = style.colours(maps) | (colours or {})
  _map_rows(grid, 0, maps, "viridis", "attention, L2-normalised")
  for row, name in enumerate(maps):
    colour = style.for_text(colours[name])
    grid.row_label(row, _label(name), color=colour, fontweight="bold")
  if residues:
    rounding = 1e-5 * reference.max()
    _map_rows(grid, len(maps), residues, "magma", "residue", rounding)
  corner = {"color": "white", "fontsize": style.NORMAL, "ha": "right", "va": "top"}
  corner["bbox"] = {"facecolor": "black", "edgecolor": "none", "pad": 1.5}
  for row, (name, values) in enumerate(residues.items(), len(maps)):
    label = f"|{_label(teacher)} \u2212 {_label(name)}|"
    colour = style.for_text(colours[name])
    grid.row_label(row, label, color=colour, fontsize=style.SMALL)
    for column, residue in enumerate(values):
      left, top = grid.corner(row, column) + np.array([0.96, 0.04]) * grid.width
      grid.text(left, top, f"{np.linalg.norm(residue):.3f}", **corner)
  for column in range(count):
    grid.title(0, column, f"cascade {column + 1}")
  return grid.figure


def mask(sampling: ArrayLike) -> Figure:
  """The sampling mask with zero frequency at the centre; white is sampled.

  Args:
    sampling: mask [H, W], zero frequency at [0, 0].
  """
  sampling = np.fft.fftshift(np.asarray(sampling))
  grid = Grid(sampling.shape, 1, (None,), (0.04,), left=0.13, bottom=0.13)
  shown = grid.picture(0, 0, sampling, frame=style.QUIET, cmap="gray", vmin=0, vmax=1)
  shown.axes.set_xlabel("$k_x$ (columns)", fontsize=style.NORMAL, labelpad=3)
  grid.row_label(0, "$k_y$ (rows)", color=style.INK)
  return grid.figure


def regions(pictures: Sequence[tuple]) -> Figure:
  """Slices side by side, with the regions of homogeneous tissue as boxes.

  Args:
    pictures: (title, image [H, W], regions as `roi_snr.Roi`) of each slice.
  """
  figure = style.new_figure(2.6 * len(pictures), 2.9, layout="constrained")
  panels = figure.subplots(1, len(pictures), squeeze=False)[0]
  for axes, (title, image, found) in zip(panels, pictures, strict=True):
    axes.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, _WHITE) or 1)
    axes.set_title(title, fontsize=style.SMALL, color=style.INK)
    axes.axis("off")
    for roi in found:
      style.box(axes, roi.column, roi.row, roi.width, roi.height)
  return figure


def interesting_box(image: np.ndarray, side: int) -> tuple[int, int, int]:
  """Top, left and side of the square with the most structure, away from the border.

  Structure is the local sum of the gradient's magnitude, clipped at the median of the
  edges, so that many edges count more than one strong edge. Squares that reach into the
  outer eighth of the image are not considered where others exist.

  Args:
    image: [H, W].
    side: side of the square in pixels, at most min(H, W).

  Returns:
    (top, left, side).
  """
  gradient = scipy.ndimage.gaussian_gradient_magnitude(image, 1.0)
  edges = gradient[gradient > 0.02 * gradient.max()]
  gradient = np.minimum(gradient, np.median(edges) if edges.size else 0)
  total = np.pad(gradient.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
  sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side]
  sums += total[:-side, :-side]
  margin = [min(n // 8, (n - side) // 2) for n in image.shape]
  inner = sums[margin[0] : len(sums) - margin[0], margin[1] : sums.shape[1] - margin[1]]
  top, left = np.unravel_index(np.argmax(inner), inner.shape)
  return int(top) + margin[0], int(left) + margin[1], side


def _box_side(shape, panel):
  """About 0.3 of the image, so that its enlargement by a whole number fills a panel."""
  short = min(shape)
  sides = range(max(2, round(0.26 * short)), max(3, round(0.34 * short) + 1))
  return min(short, min(sides, key=lambda side: panel - side * (panel // side)))


def _image_rows(grid, images, scores, colours):
  target = images["target"]
  top, left, side = interesting_box(target, _box_side(target.shape, grid.width))
  grey = {"cmap": "gray", "vmin": 0, "vmax": np.percentile(target, _WHITE) or 1.0}
  enlarged = [side * (grid.width // side)] * 2
  yellow = {"frame": style.BOX, "frame_width": 1.1}
  for column, (name, image) in enumerate(images.items()):
    shown = grid.picture(0, column, image, **grey)
    style.box(shown.axes, left, top, side, side)
    colour = style.for_text(colours[name])
    grid.title(0, column, _label(name), color=colour, fontweight="bold")
    grid.caption(0, column, scores[name])
    part = image[top : top + side, left : left + side]
    grid.picture(1, column, part, size=enlarged, **yellow, **grey)


def _residue_row(grid, row, residues, smallest):
  """Residues on the networks' scale; the input's may exceed it."""
  networks = [r for n, r in residues.items() if n not in ("target", *_INPUTS)]
  norm = _norm(networks or list(residues.values()), smallest)
  for column, (name, residue) in enumerate(residues.items()):
    if name != "target":
      shown = grid.picture(row, column, residue, cmap="magma", norm=norm)
  left, top = grid.corner(row, list(residues).index("target"))
  height, width = grid.heights[row], grid.width
  place = left + 0.1 * width, top + 0.46 * height, 0.8 * width, 0.05 * width
  bar = grid.colour_bar(shown, place, residues.values())
  bar.ax.locator_params(nbins=4)
  bar.ax.set_title("|image \u2212 target|", fontsize=style.NORMAL, pad=5)


def _map_rows(grid, first, maps, colour_map, label, smallest=1e-12):
  norm = _norm(list(maps.values()), smallest)
  for row, values in enumerate(maps.values(), first):
    for column, image in enumerate(values):
      shown = grid.picture(row, column, image, cmap=colour_map, norm=norm)
  left, top = grid.corner(first, grid.columns - 1)
  bottom = grid.corner(first + len(maps) - 1, 0)[1] + grid.heights[first]
  height = min(bottom - top, round(1.6 * grid.width))
  top += (bottom - top - height) // 2
  place = left + 1.07 * grid.width, top, 0.06 * grid.width, height
  bar = grid.colour_bar(shown, place, maps.values())
  bar.ax.locator_params(nbins=4)
  bar.set_label(label, fontsize=style.NORMAL, color=style.INK)


def _norm(images, smallest):
  return Normalize(0, float(max(np.percentile(images, _WHITE), smallest)))


def _scores(target, image, metrics, data_range):
  """Metrics of one image for a range that need not be the image's own."""
  if data_range <= 0:
    return "no signal"
  values = [quality.of_image(m, target, image, data_range) for m in metrics]
  return " / ".join(
    f"{wording.number(value, metric)} {metric.unit}".strip()
    for value, metric in zip(values, metrics, strict=True)
  )


def normalised(values: ArrayLike) -> np.ndarray:
  """Attention maps [K, H, W], each divided by its L2 norm; zeros stay zeros."""
  values = np.asarray(values, np.float64)
  norms = np.sqrt(np.sum(values**2, axis=(1, 2), keepdims=True))
  return values / np.where(norms > 0, norms, 1)


def _label(name):
  return name.replace("_", " ")
