"""The contribution of a loss's terms to the gradient, from a stage's log.

At intervals the log (`training.log`) has a line {"event": "audit", "step", "terms":
{term: {"value", "share", "cosine"}}}: the share of the term in the sum of the
gradients' norms, and the cosine of its gradient with that of the L1 error of the
reconstruction.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from kdmri_jax.config import ExperimentConfig
from kdmri_jax.training.log import NEGLIGIBLE

Audits = Mapping[str, Sequence[Sequence[dict]]]


def collect(
  config: ExperimentConfig, histories: Mapping[str, Sequence[Sequence[dict]]]
) -> dict[str, list[list[dict]]]:
  """The audits for the report: of several terms, or of a distillation.

  Args:
    config: the experiment.
    histories: stage -> for each seed the lines of its metrics.jsonl.

  Returns:
    Stage -> for each seed its audits; stages without audits are omitted.
  """
  audits = {}
  for stage, runs in histories.items():
    found = [[x for x in lines if x.get("event") == "audit"] for lines in runs]
    terms = [term for term in config.stages[stage].terms.values() if term.weight]
    if any(found) and (len(terms) > 1 or any(term.hint for term in terms)):
      audits[stage] = found
  return audits


def summarise(audits: Audits) -> list[dict]:
  """One entry per term of each stage, over all audits and seeds.

  Args:
    audits: from `collect`.

  Returns:
    A list of {"stage", "term", "audits" (their number), "share" and "cosine" (their
    medians), "smallest_share", "largest_share", "absent" (whether the share stayed
    under `training.log.NEGLIGIBLE` throughout)}.
  """
  entries = []
  for stage, runs in audits.items():
    terms: dict[str, list[dict]] = {}
    for line in (line for lines in runs for line in lines):
      for term, values in line["terms"].items():
        terms.setdefault(term, []).append(values)
    for term, values in terms.items():
      shares = [entry["share"] for entry in values]
      entries.append(
        {
          "stage": stage,
          "term": term,
          "audits": len(values),
          "share": float(np.median(shares)),
          "smallest_share": min(shares),
          "largest_share": max(shares),
          "cosine": float(np.median([entry["cosine"] for entry in values])),
          "absent": max(shares) < NEGLIGIBLE,
        }
      )
  return entries
