"""Is one model better than another? Paired statistics over subjects and seeds.

Subjects are the unit wherever there are enough of them: slices of one subject
resemble each other, so counting them as independent promises too much. Seeds are a
second factor, crossed with the subjects: every training is measured on all of them.
"""

from typing import NamedTuple

import numpy as np
import scipy.stats

from kdmri_jax.errors import UserError
from kdmri_jax.evaluation.metrics import HIGHER_IS_BETTER, METRICS

ENOUGH = 6
"""Fewest pairs with which the exact two-sided Wilcoxon test can reach 0.05."""

_FEW_SUBJECTS = 10


def summary(records: list[dict], protocol: str) -> list[dict]:
  """Mean and spread of every metric over volumes and seeds, a row for each model.

  Args:
    records: records of `tables.Tables`; slices are ignored.
    protocol: whose records to take.

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
  return [{"model": model, **_summarise(rows, model)} for model, rows in models.items()]


def _summarise(rows, model):
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
  for name in METRICS:
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
  teacher: str | None = None,
  student: str | None = None,
  protocol: str = "kdmri",
) -> dict:
  """Compares two models on the same images, trained with the same seeds.

  With at least `ENOUGH` subjects the unit is the subject (the mean over its
  volumes). With fewer it is the slice; then subjects are resampled first and
  slices within them (one subject: slices only), and `caution` says what the
  interval is worth. Where there are several seeds, every unit has a difference with
  each seed, and seeds are resampled independently of the units: every drawn unit is
  taken with every drawn seed.

  Args:
    records: records of `tables.Tables`, volumes and slices; "seed" is the seed of
      the training, absent where there is one only.
    a: model whose gain is asked for.
    b: model to compare with.
    metric: one of `metrics.METRICS`.
    bootstrap: number of resamples.
    seed: of the resampling; the same seed gives the same interval.
    teacher: with `student` and b = student: model that bounds the gap.
    student: the unassisted student.
    protocol: whose records to take.

  Returns:
    A dict: a, b, metric, protocol; mean_difference (mean of a - b over seeds and
    units); ci95 (its percentile bootstrap interval [low, high], None below two
    units); wilcoxon_p (signed-rank over the units' means over seeds, two-sided; 1.0
    when all differences are 0; None below two units); gap_closed = (a - student) /
    (teacher - student) of the means, None where not asked for or the teacher is not
    better; gap_ci95, None also where the resampled gap is not always positive;
    gap_note (why gap_closed or gap_ci95 is None, else None); n_seeds (seeds that
    both models share), seeds_better (those with which the mean difference favours
    a), seed_differences (list of the n_seeds mean differences); unit ("subject" or
    "slice"), n (units), subjects, left_out (units without finite values throughout),
    differences (list of the n differences, means over seeds), verdict ("better",
    "worse", "undecided", "too_few": of a, by the interval), caution (on the number
    of subjects, text or None).

  Raises:
    UserError: a model has no records, the models were not measured on the same
      images or share no seed, or no unit has finite values.

  Source: resampling crossed factors: Owen, Annals of Applied Statistics 1 (2007).
  """
  sample = _sample(records, (a, b), metric, protocol)
  if not len(sample.values):
    raise UserError(
      f"{metric} of {a} and {b}", "no finite value", "images with signal", "Check them."
    )
  crossed = sample.values[..., 0] - sample.values[..., 1]
  differences, by_seed = crossed.mean(axis=1), crossed.mean(axis=0)
  means = _resampled_means(sample, bootstrap, seed)
  interval = _interval(means[:, 0] - means[:, 1]) if len(differences) > 1 else None
  gap = {"gap_closed": None, "gap_ci95": None, "gap_note": None}
  if teacher and student and b == student and a not in (teacher, student):
    gap = _gap(records, a, teacher, student, metric, protocol, bootstrap, seed)
  count = len(np.unique(sample.subjects))
  return {
    "a": a,
    "b": b,
    "metric": metric,
    "protocol": protocol,
    "mean_difference": float(differences.mean()),
    "ci95": interval,
    "wilcoxon_p": _wilcoxon(differences),
    **gap,
    "n_seeds": len(by_seed),
    "seeds_better": int(np.count_nonzero(_sign(metric) * by_seed > 0)),
    "seed_differences": by_seed.tolist(),
    "unit": sample.unit,
    "n": len(differences),
    "subjects": count,
    "left_out": sample.left_out,
    "differences": differences.tolist(),
    "verdict": _verdict(interval, len(differences), metric),
    "caution": _caution(sample.unit, count),
  }


class _Sample(NamedTuple):
  """Values [units, seeds, models], all finite, and whose they are.

  Attributes:
    values: see above.
    subjects: the subject of each unit.
    unit: "subject" or "slice".
    left_out: units that had a value that is not finite.
  """

  values: np.ndarray
  subjects: np.ndarray
  unit: str
  left_out: int


def _sample(records, models, metric, protocol) -> _Sample:
  rows = [r for r in records if r["protocol"] == protocol and r["model"] in models]
  subjects = {r["subject"] for r in rows}
  unit = "subject" if len(subjects) >= ENOUGH else "slice"
  seeds = set.intersection(
    *({r.get("seed") for r in rows if r["model"] == model} for model in models)
  )
  columns = [(seed, model) for seed in sorted(seeds) for model in models]
  table = {}
  for row in rows:
    if ("slice" in row) == (unit == "slice") and row.get("seed") in seeds:
      key = (row["subject"], row["volume"], row.get("slice", 0))
      table.setdefault(key, {})[row.get("seed"), row["model"]] = row[metric]
  if not table or any(len(found) != len(columns) for found in table.values()):
    raise UserError(
      " and ".join(models),
      "models without records of the same images",
      f"records of each model on each {unit} under the protocol {protocol}, with the "
      "same seeds",
      "Evaluate all of them on the same files.",
    )
  keys = sorted(table)
  values = np.array([[table[k][c] for c in columns] for k in keys], np.float64)
  values = values.reshape(len(keys), len(seeds), len(models))
  owners = np.array([k[0] for k in keys])
  if unit == "subject":
    names = np.unique(owners)
    values = np.array([values[owners == name].mean(axis=0) for name in names])
    owners = names
  keep = np.isfinite(values).all(axis=(1, 2))
  return _Sample(values[keep], owners[keep], unit, int(np.count_nonzero(~keep)))


def _groups(subjects, unit):
  """Indices of the units that are resampled together: one array a cluster."""
  if unit == "subject":
    return [np.arange(len(subjects))]
  return [np.flatnonzero(subjects == s) for s in np.unique(subjects)]


def _resampled_means(sample, bootstrap, seed):
  """Means [bootstrap, models]: clusters, then units within each, crossed with seeds.

  One group is resampled directly. The mean weighs every unit alike, as the mean
  of the sample itself does.
  """
  rng = np.random.default_rng(seed)
  units, seeds, models = sample.values.shape
  values = sample.values.reshape(units, -1)
  groups = _groups(sample.subjects, sample.unit)
  sums = np.zeros((bootstrap, values.shape[1]))
  counts = np.zeros((bootstrap, 1))
  for _ in groups:
    drawn = rng.integers(len(groups), size=bootstrap)
    for index, members in enumerate(groups):
      rows = np.flatnonzero(drawn == index)
      picks = rng.integers(len(members), size=(len(rows), len(members)))
      for column in range(values.shape[1]):
        sums[rows, column] += values[members, column][picks].sum(axis=1)
      counts[rows] += len(members)
  by_seed = (sums / counts).reshape(bootstrap, seeds, models)
  times_drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=bootstrap)
  return np.einsum("bs,bsm->bm", times_drawn / seeds, by_seed)


def _interval(samples):
  low, high = np.percentile(samples, [2.5, 97.5])
  return [float(low), float(high)]


def _wilcoxon(differences):
  if len(differences) < 2:
    return None
  if not differences.any():
    return 1.0
  return float(scipy.stats.wilcoxon(differences).pvalue)


def _gap(records, a, teacher, student, metric, protocol, bootstrap, seed):
  sample = _sample(records, (a, teacher, student), metric, protocol)
  units, sign = len(sample.values), _sign(metric)
  result = {"gap_closed": None, "gap_ci95": None, "gap_note": None}
  mean = sample.values.mean(axis=(0, 1)) if units else np.zeros(3)
  if sign * (mean[1] - mean[2]) <= 0:
    note = f"{teacher} is not better than {student}, so there is no gap to close"
    return {**result, "gap_note": note}
  result["gap_closed"] = float((mean[0] - mean[2]) / (mean[1] - mean[2]))
  means = _resampled_means(sample, bootstrap, seed)
  gaps = means[:, 1] - means[:, 2]
  if units < 2 or (sign * gaps).min() <= 0:
    note = f"the gap between {teacher} and {student} is too uncertain for an interval"
    return {**result, "gap_note": note}
  return {**result, "gap_ci95": _interval((means[:, 0] - means[:, 2]) / gaps)}


def _sign(metric):
  return 1 if metric in HIGHER_IS_BETTER else -1


def _verdict(interval, n, metric):
  if n < ENOUGH:
    return "too_few"
  low, high = interval
  if low <= 0 <= high:
    return "undecided"
  return "better" if (low > 0) == (metric in HIGHER_IS_BETTER) else "worse"


def _caution(unit, subjects):
  if unit == "subject":
    if subjects >= _FEW_SUBJECTS:
      return None
    return f"An interval by percentile bootstrap of {subjects} subjects is too narrow."
  of = "one subject" if subjects == 1 else f"{subjects} subjects"
  return (
    f"The unit is the slice, because there {'is' if subjects == 1 else 'are'} only "
    f"{of}. Slices of one subject are not independent of each other, so the interval "
    "is too narrow and the p-value too small; other subjects may behave differently. "
    "A mean over slices need not equal the difference between the volumes' values."
  )
