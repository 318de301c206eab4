"""Sampling masks side by side: samples, density and point-spread function."""

import numpy as np
from matplotlib.figure import Figure

from kdmri_jax.physics.masks import describe
from kdmri_jax.physics.masks.point_spread import point_spread, side_lobe
from kdmri_jax.report.figures import style
from kdmri_jax.report.figures.grid import Grid

_BESIDE = 4
_PANEL, _NARROWEST = 440, 360  # pixels
_FLOOR = -50  # dB
_LINES = {0: ("rows", "#0072B2"), 1: ("columns", "#D55E00")}


def sampling(masks: dict) -> Figure:
  """Three panels for each mask, at most four masks side by side.

  Above, the mask with zero frequency at the centre; white is sampled, and a sample is a
  whole number of pixels. In the middle, the sampled share of each row or column, k
  counted from zero frequency: grey bars for the lines of a Cartesian mask, with their
  moving mean over a twelfth of them as a curve; for a 2-D mask one curve for rows and
  one for columns. Below, the point-spread function in dB, its peak in the middle: along
  the phase-encode axis, for a 2-D mask as an image. Its title gives its highest side
  lobe (`physics.masks.point_spread.side_lobe`), whose height is the dashed line.

  Args:
    masks: name -> mask [H, W], uncentred; of one or of several shapes.
  """
  names = list(masks)
  masks = [np.asarray(mask) != 0 for mask in masks.values()]
  sizes = [np.array(mask.shape) * _zoom(mask) for mask in masks]
  height, width = np.max([*sizes, (1, _NARROWEST)], axis=0)
  axes = [describe.phase_encode_axis(mask) for mask in masks]
  images = [size for size, axis in zip(sizes, axes, strict=True) if axis is None]
  spread = max([0.5, *(size[0] / width for size in images)])
  bands = -(-len(masks) // _BESIDE)
  grid = Grid(
    (height, width),
    min(len(masks), _BESIDE),
    (None, 0.3, spread) * bands,
    (0.14, 0.08, 0.27) + (0.42, 0.08, 0.27) * (bands - 1),
    left=0.3,
    right=0.06,
    bottom=0.22,
    gap=0.22,
    panel=width,
  )
  panels = zip(names, masks, sizes, axes, strict=True)
  for k, (name, mask, size, axis) in enumerate(panels):
    row, column = 3 * (k // _BESIDE), k % _BESIDE
    spreading = point_spread(mask)
    lobe = side_lobe(spreading)
    _draw_mask(grid, row, column, name, mask, size)
    _draw_profile(grid, row + 1, column, mask, axis)
    if axis is None:
      _draw_image(grid, row + 2, column, spreading, size)
    else:
      _draw_curve(grid, row + 2, column, axis, spreading, lobe)
    grid.title(row + 2, column, _lobe_text(lobe), fontsize=style.SMALL)
    if column == 0:
      for below, label in enumerate(("mask", "sampled", "point spread, dB")):
        _label(grid, row + below, label, (size[0], grid.heights[1], 0.5 * width)[below])
  return grid.figure


def _zoom(mask):
  return max(1, round(_PANEL / max(mask.shape)))


def _draw_mask(grid, row, column, name, mask, size):
  look = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "none"}
  mask = np.fft.fftshift(mask)
  grid.picture(row, column, mask, size=size, frame=style.QUIET, **look)
  grid.title(row, column, name, fontweight="bold")


def _draw_profile(grid, row, column, mask, axis):
  axes = _plot(grid, row, column, grid.heights[row])
  for own in (0, 1) if axis is None else (axis,):
    label, colour = _LINES[own]
    share = np.fft.fftshift(mask.mean(axis=1 - own))
    k = _places(len(share))
    if axis is not None:
      axes.bar(k, share, width=1, color="#c9c9c9", linewidth=0)
      share = _running_mean(share)
    axes.plot(k, share, color=colour, lw=1.2, label=label)
  axes.set_ylim(0, 1.04)
  axes.set_yticks([0, 0.5, 1], ["0", "", "1"])
  along = "" if axis is None else f", {_LINES[axis][0]}"
  axes.set_xlabel(f"k{along}", fontsize=style.NORMAL, labelpad=1)
  if axis is None:
    axes.legend(fontsize=style.SMALL, frameon=False, handlelength=1.1, borderpad=0.2)


def _draw_curve(grid, row, column, axis, spread, lobe):
  axes = _plot(grid, row, column, round(0.5 * grid.width))
  line = np.fft.fftshift(spread[:, 0] if axis == 0 else spread[0])
  axes.plot(_places(len(line)), _decibels(line), color=_LINES[axis][1], lw=0.9)
  axes.set_ylim(_FLOOR, 2)
  axes.set_yticks(range(_FLOOR, 1, 10), ["\u221250", "", "", "", "", "0"])
  axes.set_xlabel("pixels", fontsize=style.NORMAL, labelpad=1)
  if lobe:
    axes.axhline(lobe.decibels, color=style.INK, lw=0.8, ls="--")


def _draw_image(grid, row, column, spread, size):
  image = _decibels(np.fft.fftshift(spread))
  look = {"cmap": "magma", "vmin": _FLOOR, "vmax": 0, "interpolation": "none"}
  shown = grid.picture(row, column, image, size=size, **look)
  left, top = grid.corner(row, column)
  left, top = left + (grid.width - size[1]) // 2, top + size[0] + grid.width // 25
  grid.colour_bar(shown, (left, top, size[1], grid.width // 30), [image])


def _plot(grid, row, column, height):
  axes = grid.at(*grid.corner(row, column), grid.width, height)
  style.quiet_axes(axes)
  axes.margins(x=0)
  return axes


def _label(grid, row, text, height):
  place = 0.25 * grid.left, grid.corner(row, 0)[1] + height / 2
  grid.text(
    *place, text, va="center", rotation=90, fontsize=style.NORMAL, color=style.QUIET
  )


def _lobe_text(lobe):
  if not lobe:
    return "no side lobe"
  text = f"side lobe {lobe.decibels:z.1f} dB, {lobe.distance:.0f} pixels away"
  return text.replace("-", "\u2212")


def _running_mean(share):
  """Moving mean over a twelfth of the lines, over fewer at the ends."""
  window = np.ones(2 * (len(share) // 24) + 1)
  return np.convolve(share, window, "same") / np.convolve(
    np.ones(len(share)), window, "same"
  )


def _places(length):
  return np.arange(length) - length // 2


def _decibels(values):
  return 20 * np.log10(np.maximum(values, 10 ** (_FLOOR / 20)))
