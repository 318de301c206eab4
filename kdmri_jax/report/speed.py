"""Inference time: its measurement, and the report's blocks on it."""

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
import scipy.stats

from kdmri_jax.report import blocks, wording
from kdmri_jax.report.paired import spread


def measure(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict:
  """Times each network `repeats` times, in turn, so that other load affects all.

  Args:
    runs: model -> a call that reconstructs one slice; compiled by an earlier call.
    repeats: number of repetitions.

  Returns:
    Model -> seconds, float64 [repeats].
  """
  for run in runs.values():
    jax.block_until_ready(run())
  seconds = {name: np.zeros(repeats) for name in runs}
  for k in range(repeats):
    for name, run in runs.items():
      begin = time.perf_counter()
      jax.block_until_ready(run())
      seconds[name][k] = time.perf_counter() - begin
  return seconds


def summary(seconds: dict[str, np.ndarray], reference: str) -> list[dict]:
  """Mean time of each network, its share of the reference's, and a paired t-test."""
  rows, base = [], seconds.get(reference)
  for model, found in seconds.items():
    row = {
      "model": model,
      **spread(found),
      **dict.fromkeys(("reference", "share", "p")),
    }
    if base is not None and model != reference:
      share = float(found.mean() / base.mean())
      row |= {"reference": reference, "share": share, "p": _p(found - base)}
    rows.append(row)
  return rows


def _p(differences: np.ndarray) -> float | None:
  """The p-value of a t-test; None where the differences have no spread."""
  if len(differences) < 2 or np.ptp(differences) == 0:
    return None
  return float(scipy.stats.ttest_1samp(differences, 0.0).pvalue)


def blocks_of(rows: list[dict]) -> list:
  """Time per slice, from `summary`; nothing where none was measured."""
  if not rows:
    return []
  cells = [
    (
      row["model"],
      wording.spread(row, 1, scale=1e3),
      wording.percent(row["share"]) if row["reference"] else "",
      wording.p_value(row["p"]) if row["reference"] else "",
    )
    for row in rows
  ]
  reference = next((row["reference"] for row in rows if row["reference"]), "")
  header = ("model", "ms per slice ↓", f"of {reference}'s", "p, paired t-test")
  note = (
    f"The slice shown above, alone on one device, compiled, {rows[0]['n']} times in "
    "turn; mean ± standard deviation. Other load on the machine is included."
  )
  return [blocks.Table(header, cells, note)]
