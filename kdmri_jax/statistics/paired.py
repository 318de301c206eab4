"""Is one model better than another? Paired statistics over subjects and seeds.

Subjects are the unit wherever there are enough of them: slices of one subject
resemble each other, so counting them as independent promises too much. Seeds are a
second factor, crossed with the subjects: every training is measured on all of them.
"""

from collections.abc import Iterable

import numpy as np
import scipy.stats

from kdmri_jax.errors import UserError
from kdmri_jax.statistics import resampling
from kdmri_jax.statistics.resampling import ENOUGH


def summary(records: list[dict], protocol: str, metrics: Iterable[str]) -> list[dict]:
  """Mean and spread of every metric over volumes and seeds, a row for each model.

  Args:
    records: records of `tables.Tables`; slices are ignored.
    protocol: whose records to take.
    metrics: keys of the values to summarise.

  Returns:
    Rows {"model", "n_seeds", "metrics": {metric: {"mean", "sd", "sd_over_seeds", "n",
    "left_out"}}} in the order in which the models appear. The mean is over seeds and
    volumes. sd is the sample standard deviation (n - 1) over volumes of their means
    over seeds, None for n = 1; sd_over_seeds that of the seeds' means over volumes,
    None for one seed. `left_out` volumes have no finite value with some seed (a
    perfect PSNR, no edges) and count neither in the means nor in n; mean is None for
    n = 0.

  Raises:
    UserError: a model was not measured on the same volumes with every seed.
  """
  models = {}
  for record in records:
    if record["protocol"] == protocol and "slice" not in record:
      models.setdefault(record["model"], []).append(record)
  return [
    {"model": model, **_summarise(rows, model, metrics)}
    for model, rows in models.items()
  ]


def _summarise(rows, model, names):
  volumes, seeds = (
    list(dict.fromkeys(row.get(key) for row in rows)) for key in ("volume", "seed")
  )
  by_key = {(row["volume"], row.get("seed")): row for row in rows}
  if len(by_key) != len(volumes) * len(seeds):
    raise UserError(
      model,
      "records of other volumes with some seeds than with others",
      "the same volumes with every seed",
      "Evaluate all seeds on the same files.",
    )
  metrics = {}
  for name in names:
    values = [[by_key[volume, seed][name] for seed in seeds] for volume in volumes]
    metrics[name] = _moments(np.array(values, np.float64))
  return {"n_seeds": len(seeds), "metrics": metrics}


def _moments(values):
  """Moments of values [volumes, seeds]."""
  finite = values[np.isfinite(values).all(axis=1)]
  by_volume = finite.mean(axis=1)
  several = len(finite) > 0 and finite.shape[1] > 1
  return {
    "mean": float(by_volume.mean()) if len(finite) else None,
    "sd": float(by_volume.std(ddof=1)) if len(finite) > 1 else None,
    "sd_over_seeds": float(finite.mean(axis=0).std(ddof=1)) if several else None,
    "n": len(finite),
    "left_out": len(values) - len(finite),
  }


def paired(
  records: list[dict],
  a: str,
  b: str,
  metric: str,
  *,
  bootstrap: int,
  seed: int,
  higher_is_better: bool = True,
  teacher: str | None = None,
  protocol: str = "kdmri",
  group: str = "subject",
) -> dict:
  """Compares two models on the same images, trained with the same seeds.

  With at least `ENOUGH` subjects the unit is the subject (the mean over its
  volumes). With fewer it is the slice; then subjects are resampled first and
  slices within them (one subject: slices only). Where there are several seeds, every
  unit has a difference with each seed, and seeds are resampled independently of the
  units: every drawn unit is taken with every drawn seed. A few seeds show less of
  their spread than there is, so the t interval over the seeds' mean differences (n - 1
  degrees of freedom) takes the place of the bootstrap's where it is the wider one.

  Args:
    records: records of `tables.Tables`, volumes and slices; "seed" is the seed of
      the training, absent where there is one only.
    a: model whose gain is asked for.
    b: model to compare with.
    metric: key of the value to compare.
    bootstrap: number of resamples.
    seed: of the resampling; the same seed gives the same interval.
    higher_is_better: whether larger values are better.
    teacher: the model that bounds the gap above b; None does not ask for the gap.
    protocol: whose records to take.
    group: what a record's subject is, in words: "subject", "file".

  Returns:
    A dict: a, b, metric, protocol; mean_difference (mean of a - b over seeds and
    units); ci95 (its interval [low, high], None below two units) and ci95_method
    ("bootstrap", "t" or None); wilcoxon_p (signed-rank over the units' means over
    seeds, two-sided, so of these trainings only; 1.0 when all differences are 0; None
    below two units); gap_closed = (a - b) / (teacher - b) of the means, None where not
    asked for or the teacher is not better; gap_ci95 (made as ci95, the t interval by
    linearisation of the ratio), None also where the resampled gap is not always
    positive; gap_note (why gap_closed or gap_ci95 is None, else None); gap_seeds (seeds
    that a, b and the teacher share, those of gap_closed, None without it); n_seeds
    (seeds that a and b share), seeds_better (those with which the mean difference
    favours a), seed_differences (list of the n_seeds mean differences); group; unit
    (`group` or "slice"), n (units), subjects, left_out (units without finite values
    throughout), differences (list of the n differences, means over seeds), verdict
    ("better", "worse", "undecided", "too_few": of a, by the interval).

  Raises:
    UserError: a model has no records, the models were not measured on the same
      images or share no seed, or no unit has finite values.
  """
  sample = resampling.pick(records, (a, b), metric, protocol)
  if not len(sample.values):
    raise UserError(
      f"{metric} of {a} and {b}", "no finite value", "images with signal", "Check them."
    )
  crossed = sample.values[..., 0] - sample.values[..., 1]
  differences, by_seed = crossed.mean(axis=1), crossed.mean(axis=0)
  interval = resampling.Interval(None, None)
  if len(differences) > 1:
    means = resampling.means(sample, bootstrap, seed)
    resampled = means[:, 0] - means[:, 1]
    interval = resampling.wider_interval(resampled, differences.mean(), by_seed)
  sign = 1 if higher_is_better else -1
  gap = dict.fromkeys(("gap_closed", "gap_ci95", "gap_note", "gap_seeds"))
  if teacher not in (None, a, b):
    trio = resampling.pick(records, (a, teacher, b), metric, protocol)
    gap |= _gap(trio, (teacher, b), sign, bootstrap, seed)
  return {
    "a": a,
    "b": b,
    "metric": metric,
    "protocol": protocol,
    "mean_difference": float(differences.mean()),
    "ci95": interval.ends,
    "ci95_method": interval.method,
    "wilcoxon_p": _wilcoxon(differences),
    **gap,
    "n_seeds": len(by_seed),
    "seeds_better": int(np.count_nonzero(sign * by_seed > 0)),
    "seed_differences": by_seed.tolist(),
    "group": group,
    "unit": "slice" if sample.by_slice else group,
    "n": len(differences),
    "subjects": len(np.unique(sample.subjects)),
    "left_out": sample.left_out,
    "differences": differences.tolist(),
    "verdict": _verdict(interval.ends, len(differences), sign),
  }


def _wilcoxon(differences):
  if len(differences) < 2:
    return None
  if not differences.any():
    return 1.0
  return float(scipy.stats.wilcoxon(differences).pvalue)


def _gap(sample, bounds, sign, bootstrap, seed):
  """Entries on the gap of a sample of a, teacher and b; `bounds`: the last two."""
  units = len(sample.values)
  by_seed = sample.values.mean(axis=0) if units else np.zeros((1, 3))
  gain, gap = by_seed[:, 0] - by_seed[:, 2], by_seed[:, 1] - by_seed[:, 2]
  if sign * gap.mean() <= 0:
    note = "{} is not better than {}, so there is no gap to close".format(*bounds)
    return {"gap_note": note}
  share = float(gain.mean() / gap.mean())
  found = {"gap_closed": share, "gap_seeds": len(gap)}
  means = resampling.means(sample, bootstrap, seed)
  gaps = means[:, 1] - means[:, 2]
  if units < 2 or (sign * gaps).min() <= 0:
    note = "the gap between {} and {} is too uncertain for an interval".format(*bounds)
    return {**found, "gap_note": note}
  shares = (means[:, 0] - means[:, 2]) / gaps
  linearised = (gain - share * gap) / gap.mean()
  interval = resampling.wider_interval(shares, share, linearised)
  return {**found, "gap_ci95": interval.ends}


def _verdict(interval, n, sign):
  if n < ENOUGH:
    return "too_few"
  low, high = interval
  if low <= 0 <= high:
    return "undecided"
  return "better" if (low > 0) == (sign > 0) else "worse"
