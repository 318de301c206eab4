"""A report's inputs with several seeds, a control, published numbers and audits."""

import numpy as np
from helpers.measured import make_input

from kdmri_jax import report
from kdmri_jax.report import tables

NETWORKS = ("teacher", "student", "student_long", "kd", "fsp")
QUALITY = {
  "student": 30.0,
  "student_long": 30.1,
  "kd": 30.3,
  "fsp": 30.2,
  "teacher": 31,
}


def seeded_tables(seeds=3, subjects=8, networks=NETWORKS, **quality):
  """Tables of several seeds; PSNR is `QUALITY`, or `quality`, and a little noise."""
  quality = QUALITY | quality
  rng = np.random.default_rng(0)
  found = tables.Tables([], [])
  level = rng.normal(0, 1, subjects)
  for model in ("zero_filled", *networks):
    for seed in range(seeds) if model in quality else (None,):
      for index in range(subjects):
        psnr = quality.get(model, 25.0) + level[index] + rng.normal(0, 0.02)
        label = {"model": model, "seed": seed, "volume": f"v{index}"}
        label |= {"subject": f"s{index}", "protocol": "kdmri"}
        values = dict.fromkeys(("mse", "hfn", "hfen"), 0.1)
        values |= {"psnr": psnr, "ssim": psnr / 40, "nmse": 1 / psnr}
        found.volumes.append({**label, **values, "empty_slices": 0})
        found.slices.append({**label, "slice": 0, **values})
  return found


def audits_of(**shares):
  terms = {t: {"value": 0.1, "share": s, "cosine": 0.5} for t, s in shares.items()}
  return [{"event": "audit", "step": step, "terms": terms} for step in (0, 100)]


def study_input(seeds=3, **changes):
  """Several seeds and distilled networks, a control, published numbers, audits."""
  short, long = report.Budget(150, 1500, 90.0), report.Budget(300, 3000, 186.0)
  budgets = dict.fromkeys(NETWORKS, long) | dict.fromkeys(("teacher", "student"), short)
  return make_input(
    ("zero_filled", "teacher", "student", "kd"),
    **{
      "tables": seeded_tables(seeds),
      "parameters": dict.fromkeys(NETWORKS, 49285) | {"teacher": 141765},
      "distilled": ("kd", "fsp"),
      "control": "student_long",
      "seeds": tuple(range(seeds)),
      "published": {"zero_filled": (24.27, 0.6996), "kd": (32.07, 0.9084)},
      "published_source": "A paper, table 1",
      "pairs": (("fsp", "kd"), ("nobody", "kd")),
      "budgets": budgets,
      "histories": {},
      "audits": {
        "feature": [audits_of(attention=1.0)] * seeds,
        "kd": [audits_of(reconstruction=0.9999991, imitation=9e-7)] * seeds,
      },
      **changes,
    },
  )
