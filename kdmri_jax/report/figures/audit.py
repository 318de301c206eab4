"""The contribution of each term to the gradient of its stage."""

import numpy as np
from matplotlib.figure import Figure

from kdmri_jax.report.figures import style
from kdmri_jax.training.log import NEGLIGIBLE

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D31", "#7B4EA3")
_FLOOR = 1e-12  # position of a share of zero


def audit(audits: dict) -> Figure:
  """Share and cosine of every term over the steps of every stage.

  Above, the share of a term in the sum of the gradients' norms, logarithmic; the
  dashed line is `training.log.NEGLIGIBLE`, below which a term is in effect absent.
  Below, the cosine of its gradient with that of the L1 error of the reconstruction.
  A term has one colour in all stages, whose seeds share their axes.

  Args:
    audits: stage -> for each seed its audits, from `report.gradient_audit.collect`.
  """
  lines_of_all = (line for runs in audits.values() for lines in runs for line in lines)
  terms = dict.fromkeys(term for line in lines_of_all for term in line["terms"])
  colours = {t: _COLOURS[i % len(_COLOURS)] for i, t in enumerate(terms)}
  headings = dict.fromkeys(audits, style.INK)
  labels = ("share of the gradient", "cosine with L1")
  figure, pairs = style.stage_axes(audits, headings, labels)
  for stage, (share, cosine) in pairs.items():
    width = 1.4 if len(audits[stage]) == 1 else 0.8
    for lines in audits[stage]:
      _draw_run(share, cosine, lines, colours, width)
    _finish(share, cosine)
  return figure


def _draw_run(share, cosine, lines, colours, width):
  for term, colour in colours.items():
    drawn = [line for line in lines if term in line["terms"]]
    if not drawn:
      continue
    steps = [line["step"] for line in drawn]
    look = {"color": colour, "lw": width, "marker": "." if len(drawn) < 4 else ""}
    shares = np.array([line["terms"][term]["share"] for line in drawn])
    share.plot(steps, np.maximum(shares, _FLOOR), **look, label=term)
    cosine.plot(steps, [line["terms"][term]["cosine"] for line in drawn], **look)


def _finish(share, cosine):
  share.set_yscale("log")
  shares = np.concatenate([line.get_ydata() for line in share.lines])
  lowest = min(shares[np.isfinite(shares)], default=1.0)
  share.set_ylim(min(0.3 * lowest, 0.3 * NEGLIGIBLE), 2)
  share.axhline(NEGLIGIBLE, color=style.QUIET, lw=0.9, ls="--", zorder=0)
  cosine.set_ylim(-1.05, 1.05)
  cosine.axhline(0, color=style.QUIET, lw=0.9, zorder=0)
  cosine.set_xlabel("step", fontsize=style.NORMAL)
  look = {"facecolor": "white", "edgecolor": "none", "framealpha": 0.9}
  style.legend(share, handlelength=1.4, **look)
