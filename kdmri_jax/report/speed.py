"""Inference time: its measurement, and the report's blocks on it."""

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
import scipy

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


def summary(
  seconds: dict[str, np.ndarray], reference: str, published: Mapping[str, float]
) -> list[dict]:
  """Mean time of each network, its share of the reference's, and a paired t-test.

  Args:
    seconds: from `measure`.
    reference: model to compare the others with.
    published: model -> seconds as published, where known.
  """
  rows, base, there = [], seconds.get(reference), published.get(reference)
  for model, found in seconds.items():
    row = {
      "model": model,
      **spread(found),
      **dict.fromkeys(("reference", "share", "p", "published_share")),
    }
    if base is not None and model != reference:
      share = float(found.mean() / base.mean())
      row |= {"reference": reference, "share": share, "p": _p(found - base)}
      if there and model in published:
        row["published_share"] = published[model] / there
    rows.append(row)
  return rows


def _p(differences: np.ndarray) -> float | None:
  """The p-value of a t-test; None where the differences have no spread."""
  if len(differences) < 2 or np.ptp(differences) == 0:
    return None
  return float(scipy.stats.ttest_1samp(differences, 0.0).pvalue)


def blocks_of(rows: list[dict], source: str) -> list:
  """Time per slice; nothing where none was measured.

  Args:
    rows: from `summary`.
    source: of the published times.
  """
  if not rows:
    return []
  reference = next((row["reference"] for row in rows if row["reference"]), "")

  def compared(text, key):
    return [text(row[key]) if row["reference"] else "" for row in rows]

  columns = {
    "model": [row["model"] for row in rows],
    "ms per slice ↓": [wording.spread(row, 1, scale=1e3) for row in rows],
    f"of {reference}'s": compared(wording.percent, "share"),
    "p, paired t-test": compared(wording.p_value, "p"),
  }
  told = ""
  if any(row["published_share"] for row in rows):
    columns["speed-up ↑"] = compared(_times, "share")
    columns["published speed-up"] = compared(_times, "published_share")
    told = f" Speed-up: over {reference}. Published: {source}."
  note = (
    f"The slice shown above, alone on one device, compiled, {rows[0]['n']} times in "
    "turn; mean ± standard deviation. Other load on the machine is included."
  )
  cells = list(zip(*columns.values(), strict=True))
  return [blocks.Table(tuple(columns), cells, note + told)]


def _times(share: float | None) -> str:
  """How many times as fast: "35.6x"; a dash for None."""
  return f"{1 / share:.1f}x" if share else wording.ABSENT
