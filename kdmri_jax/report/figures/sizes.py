"""Image quality against the size of the networks."""

import itertools

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from kdmri_jax.metrics import Metric
from kdmri_jax.report.figures import style
from kdmri_jax.report.sizes import AXES

_MARKERS = "osD^vP"


def sizes(
  entries: list[dict], *, metric: Metric, colours: dict[str, str] | None = None
) -> Figure:
  """One panel for each known measure of size, with the front of each.

  Args:
    entries: from `sizes.summary`.
    metric: the metric of their quality.
    colours: colour of each network; `figures.colours` of them where None.
  """
  colours = style.colours([entry["model"] for entry in entries]) | (colours or {})
  axes = [key for key in AXES if any(entry[key] is not None for entry in entries)]
  height = max(2.6, 0.21 * len(entries) + 0.6)
  figure = style.new_figure(2.6 * len(axes) + 1.6, height, layout="constrained")
  panels = figure.subplots(1, len(axes), sharey=True, squeeze=False)[0]
  for panel, key in zip(panels, axes, strict=True):
    _draw(panel, entries, key, colours)
  panels[0].set_ylabel(metric.label, fontsize=style.NORMAL)
  handles, labels = panels[0].get_legend_handles_labels()
  place = {"loc": "outside right upper", "frameon": False}
  figure.legend(handles, labels, fontsize=style.SMALL, **place)
  return figure


def _draw(panel, entries, key, colours):
  axis = AXES[key]
  front = [entry for entry in entries if key in entry["front"]]
  front.sort(key=lambda entry: (entry[key], entry["quality"]))
  places = [(entry[key] / axis.unit, entry["quality"]) for entry in front]
  panel.plot(*zip(*places, strict=True), color=style.QUIET, lw=0.9, zorder=1)
  for entry, marker in zip(entries, itertools.cycle(_MARKERS)):
    if entry[key] is not None:
      colour = colours[entry["model"]]
      panel.plot(
        *(entry[key] / axis.unit, entry["quality"], marker),
        ms=5.5,
        color=colour,
        mfc=colour if entry in front else "white",
        label=entry["model"],
      )
  style.quiet_axes(panel)
  panel.set_xscale("log")
  panel.margins(x=0.12)
  panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
  panel.xaxis.set_minor_locator(NullLocator())
  panel.set_xlabel(axis.title, fontsize=style.NORMAL)
