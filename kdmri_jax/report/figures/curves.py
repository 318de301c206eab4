"""Figures made of lines and dots: learning curves and paired differences."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from kdmri_jax.metrics import Metric
from kdmri_jax.report.figures import style


def learning_curves(epochs: dict, *, colours: dict[str, str] | None = None) -> Figure:
  """Loss and validation PSNR of every stage over its epochs.

  The stages' losses are different sums in different units, so each stage has axes
  of its own, logarithmic where the loss is positive. Stages that end within 12 dB of
  the best share the PSNR axis. The epoch whose weights were kept is marked. The
  seeds of a stage share its axes and its colour.

  Args:
    epochs: stage -> for each seed its epochs {"epoch", "train": {"loss"}, "validation":
      {"loss", "psnr"}, "best"}, from `ReportInput.epochs`.
    colours: colour of each stage; `figures.colours` of them where None.
  """
  colours = style.colours(epochs) | (colours or {})
  figure, pairs = style.stage_axes(epochs, colours, ("loss", "validation PSNR, dB"))
  for stage, (loss, psnr) in pairs.items():
    width = 1.6 if len(epochs[stage]) == 1 else 0.9
    for lines in epochs[stage]:
      _draw_run(loss, psnr, lines, colours[stage], width)
    _finish_loss(loss)
    psnr.set_xlabel("epoch", fontsize=style.NORMAL)
  _share_psnr([psnr for _, psnr in pairs.values()], epochs.values())
  loss, psnr = next(iter(pairs.values()))
  # PSNR rises: the lower right of its panel is empty.
  look = {"frameon": False, "handlelength": 1.6, "borderaxespad": 0.1}
  style.legend(loss, on=psnr, loc="lower right", **look)
  return figure


def differences(
  pairs: list[dict],
  *,
  metrics: Mapping[str, Metric],
  colours: dict[str, str] | None = None,
) -> Figure:
  """Paired differences: one dot per unit, the mean and its 95% interval.

  One panel per metric, one row per pair; differences are a - b, and the dashed line is
  "no difference". Where there are several seeds, a tick on the interval is the mean of
  one of them.

  Args:
    pairs: results of `report.paired`.
    metrics: name -> metric of the pairs.
    colours: colour of each model a; `figures.colours` of them where None.
  """
  by_metric = {}
  for pair in pairs:
    by_metric.setdefault(pair["metric"], []).append(pair)
  first, *_ = by_metric.values()
  rows = max(map(len, by_metric.values()))
  size = 3.6 * len(by_metric) + 0.6, (0.62 if rows <= 4 else 0.46) * rows + 0.8
  apart = ConstrainedLayoutEngine(wspace=0.08)  # the ends of two axes do not touch
  figure = style.new_figure(*size, layout=apart)
  panels = figure.subplots(1, len(by_metric), squeeze=False)[0]
  for axes, (metric, group) in zip(panels, by_metric.items(), strict=True):
    _draw_differences(axes, group, colours or {})
    if group is not first and _names(group) == _names(first):
      axes.tick_params(labelleft=False)
    label = f"difference in {metrics[metric].label}"
    axes.set_xlabel(label, fontsize=style.NORMAL)
  return figure


def _draw_run(loss, psnr, lines, colour, width):
  epoch = [line["epoch"] for line in lines]
  train = _column(lines, "train", "loss")
  validation = _column(lines, "validation", "loss")
  mark = "." if len(lines) == 1 else ""
  faint = {"lw": 0.6 * width, "alpha": 0.45, "label": "training"}
  loss.plot(epoch, train, color=colour, marker=mark, **faint)
  strong = {"color": colour, "lw": width, "marker": mark}
  loss.plot(epoch, validation, **strong, label="validation")
  measured = _column(lines, "validation", "psnr")
  psnr.plot(epoch, measured, **strong)
  best = max((i for i, line in enumerate(lines) if line.get("best")), default=None)
  if best is not None:
    dot = {"color": colour, "marker": "o", "ms": 5, "mec": "white", "ls": "none"}
    loss.plot(epoch[best], validation[best], **dot, label="weights kept", zorder=3)
    psnr.plot(epoch[best], measured[best], **dot, zorder=3)
  for axes in (loss, psnr):
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _finish_loss(axes):
  """A logarithmic axis with plain numbers, readable below one decade too."""
  values = np.concatenate([line.get_ydata() for line in axes.lines])
  values = values[np.isfinite(values)]
  if not len(values) or values.min() <= 0 or values.max() <= 1.3 * values.min():
    return
  axes.set_yscale("log")
  narrow = values.max() < 8 * values.min()
  ticks = MaxNLocator(5, steps=(1, 2, 5, 10)) if narrow else LogLocator(subs=(1, 2, 5))
  axes.yaxis.set_major_locator(ticks)
  axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
  axes.yaxis.set_minor_locator(NullLocator())


def _share_psnr(panels, stages):
  last = np.array([_column(runs[0], "validation", "psnr")[-1] for runs in stages])
  near = [
    axes
    for axes, psnr in zip(panels, last, strict=True)
    if psnr > np.nanmax(last, initial=-np.inf) - 12
  ]
  for axes in near[1:]:
    axes.sharey(near[0])
  near[0].autoscale_view()


def _column(lines, part, name):
  return np.array([line[part].get(name, np.nan) for line in lines], np.float64)


def _draw_differences(axes, pairs, colours):
  colours = style.colours([pair["a"] for pair in pairs]) | colours
  rng = np.random.default_rng(0)
  for row, pair in enumerate(pairs):
    if row and len(pairs) > 4 and pair["b"] != pairs[row - 1]["b"]:
      axes.axhline(row - 0.5, color=style.GRID, lw=0.9, zorder=0)
    values = np.array(pair["differences"])
    jitter = rng.uniform(-0.16, 0.16, len(values)) if len(values) > 1 else 0.0
    colour = colours[pair["a"]]
    axes.scatter(
      values, row + 0.14 + jitter, s=13, color=colour, alpha=0.5, linewidths=0
    )
    if pair["ci95"] is not None:
      axes.plot(pair["ci95"], [row - 0.24] * 2, color=style.INK, lw=1.6)
    if pair["n_seeds"] > 1:
      seeds = pair["seed_differences"]
      axes.plot(seeds, [row - 0.24] * len(seeds), "|", ms=8, mew=1.1, color=colour)
    axes.plot(pair["mean_difference"], row - 0.24, "D", ms=3.5, color=style.INK)
  axes.axvline(0, color=style.INK, lw=0.9, ls="--", zorder=0)
  style.quiet_axes(axes)
  axes.grid(False, axis="y")
  axes.xaxis.set_major_locator(MaxNLocator(5))
  axes.set_yticks(range(len(pairs)), _names(pairs), fontsize=style.NORMAL)
  axes.set_ylim(len(pairs) - 0.45, -0.55)


def _names(pairs):
  return [f"{pair['a']} \u2212 {pair['b']}" for pair in pairs]
