"""The contribution of a loss's terms to the gradient, from a stage's log.

At intervals the log (`training.log`) has a line {"event": "audit", "step", "terms":
{term: {"value", "share", "cosine"}}}: the share of the term in the sum of the
gradients' norms, and the cosine of its gradient with that of the L1 error of the
reconstruction.
"""

import math
from collections.abc import Iterable

import numpy as np

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.report.inputs import Histories, events
from kdmri_jax.training.log import NEGLIGIBLE


def collect(config: ExperimentConfig, histories: Histories) -> Histories:
  """The audits for the report: of several terms, or of a distillation.

  Args:
    config: the experiment.
    histories: stage -> for each seed the lines of its metrics.jsonl.

  Returns:
    Stage -> for each seed its audits; stages without audits are omitted.
  """
  audits = events(histories, "audit")
  for stage in list(audits):
    if not config.stages[stage].audited:
      del audits[stage]
  return audits


def summarise(audits: Histories) -> list[dict]:
  """One entry per term of each stage, over all audits and seeds.

  Args:
    audits: from `collect`.

  Returns:
    A list of {"stage", "term", "audits" (their number), "share" and "cosine" (their
    medians), "smallest_share", "largest_share", "absent" (whether the share stayed
    under `training.log.NEGLIGIBLE` throughout)}. Gradients that are not finite are left
    out of all but the number.
  """
  entries = []
  for stage, runs in audits.items():
    lines = [line["terms"] for lines in runs for line in lines]
    for term in dict.fromkeys(name for terms in lines for name in terms):
      values = [terms[term] for terms in lines if term in terms]
      shares, cosines = (
        _defined(e[key] for e in values) for key in ("share", "cosine")
      )
      entries.append(
        {
          "stage": stage,
          "term": term,
          "audits": len(values),
          "share": float(np.median(shares)),
          "smallest_share": min(shares),
          "largest_share": max(shares),
          "cosine": float(np.median(cosines)),
          "absent": max(shares) < NEGLIGIBLE,
        }
      )
  return entries


def _defined(values: Iterable[float]) -> list[float]:
  """The values without NaN; one NaN if there are no others."""
  return [value for value in values if not math.isnan(value)] or [math.nan]
