"""The report's section on inference time."""

import numpy as np
import scipy.stats

from kdmri_jax.report import blocks, wording
from kdmri_jax.report.figures import colours


def summary(seconds: dict[str, np.ndarray], reference: str) -> list[dict]:
  """Mean time of each network, its share of the reference's, and a paired t-test."""
  base = seconds.get(reference)
  rows = []
  for model, found in seconds.items():
    other = base is not None and model != reference
    test = scipy.stats.ttest_rel(found, base) if other else None
    rows.append(
      {
        "model": model,
        "mean": float(found.mean()),
        "sd": float(found.std(ddof=1)),
        "n": len(found),
        "reference": reference if other else None,
        "share": float(found.mean() / base.mean()) if other else None,
        "p": float(test.pvalue) if other else None,
      }
    )
  return rows


def section(analysis: dict) -> blocks.Section:
  """Time per slice; no blocks where none was measured."""
  title = "Inference time"
  rows = analysis["timing"]
  if not rows:
    return blocks.Section(title, [])
  cells = [
    (
      row["model"],
      f"{1e3 * row['mean']:.1f} ± {1e3 * row['sd']:.1f}",
      "" if row["share"] is None else wording.percent(row["share"]),
      "" if row["p"] is None else wording.p_value(row["p"]),
    )
    for row in rows
  ]
  reference = next((row["reference"] for row in rows if row["reference"]), "")
  header = ("model", "ms per slice ↓", f"of {reference}'s", "p, paired t-test")
  note = (
    f"The slice shown above, alone on one device, compiled, {rows[0]['n']} times in "
    "turn; mean ± standard deviation. Other load on the machine is included."
  )
  table = blocks.Table(header, cells, note, colours=colours(analysis["networks"]))
  return blocks.Section(title, [table])
