"""Is one model better than another? Paired statistics over subjects.

Subjects are the unit wherever there are enough of them: slices of one subject
resemble each other, so counting them as independent promises too much.
"""

import numpy as np
import scipy.stats

from kdmri_jax.errors import UserError
from kdmri_jax.evaluation.metrics import HIGHER_IS_BETTER, METRICS

ENOUGH = 6
"""Fewest pairs with which the exact two-sided Wilcoxon test can reach 0.05."""

_FEW_SUBJECTS = 10


def summary(records: list[dict], protocol: str) -> list[dict]:
  """Mean and spread of every metric over volumes, a row for each model.

  Args:
    records: records of `tables.Tables`; slices are ignored.
    protocol: whose records to take.

  Returns:
    Rows {"model", "metrics": {metric: {"mean", "sd", "n", "left_out"}}} in the
    order in which the models appear. sd is the sample standard deviation
    (n - 1), None for n = 1; `left_out` volumes have no finite value (a perfect
    PSNR, no edges) and count neither in the mean nor in n; mean is None for n = 0.
  """
  models = {}
  for record in records:
    if record["protocol"] == protocol and "slice" not in record:
      models.setdefault(record["model"], []).append(record)
  return [
    {"model": model, "metrics": {name: _moments(rows, name) for name in METRICS}}
    for model, rows in models.items()
  ]


def _moments(rows, name):
  values = np.array([row[name] for row in rows], np.float64)
  finite = values[np.isfinite(values)]
  return {
    "mean": float(finite.mean()) if len(finite) else None,
    "sd": float(finite.std(ddof=1)) if len(finite) > 1 else None,
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
  """Compares two models on the same images.

  With at least `ENOUGH` subjects the unit is the subject (the mean over its
  volumes). With fewer it is the slice; then subjects are resampled first and
  slices within them (one subject: slices only), and `caution` says what the
  interval is worth.

  Args:
    records: records of `tables.Tables`, volumes and slices.
    a: model whose gain is asked for.
    b: model to compare with.
    metric: one of `metrics.METRICS`.
    bootstrap: number of resamples.
    seed: the same seed gives the same interval.
    teacher: with `student` and b = student: model that bounds the gap.
    student: the unassisted student.
    protocol: whose records to take.

  Returns:
    A dict: a, b, metric, protocol; mean_difference (mean of a - b); ci95 (its
    percentile bootstrap interval [low, high], None below two units);
    wilcoxon_p (signed-rank, two-sided; 1.0 when all differences are 0; None below
    two units); gap_closed = (a - student) / (teacher - student) of the means, None
    where not asked for or the teacher is not better; gap_ci95, None also where
    the resampled gap is not always positive; gap_note (why gap_closed or gap_ci95
    is None, else None); unit ("subject" or "slice"), n (units), subjects, left_out
    (units without two finite values), differences (list of the n differences),
    verdict ("better", "worse", "undecided", "too_few": of a, by the interval),
    caution (text or None).

  Raises:
    UserError: a model has no records, the models were not measured on the same
      images, or no unit has finite values.
  """
  values, subjects, unit = _units(records, (a, b), metric, protocol)
  keep = np.isfinite(values).all(axis=1)
  left_out = int(np.count_nonzero(~keep))
  values, subjects = values[keep], subjects[keep]
  if not len(values):
    raise UserError(
      f"{metric} of {a} and {b}", "no finite value", "images with signal", "Check them."
    )
  differences = values[:, 0] - values[:, 1]
  groups = _groups(subjects, unit)
  means = _resampled_means(values, groups, bootstrap, seed)
  interval = _interval(means[:, 0] - means[:, 1]) if len(differences) > 1 else None
  gap = {"gap_closed": None, "gap_ci95": None, "gap_note": None}
  if teacher and student and b == student and a not in (teacher, student):
    gap = _gap(records, a, teacher, student, metric, protocol, bootstrap, seed)
  count = len(np.unique(subjects))
  return {
    "a": a,
    "b": b,
    "metric": metric,
    "protocol": protocol,
    "mean_difference": float(differences.mean()),
    "ci95": interval,
    "wilcoxon_p": _wilcoxon(differences),
    **gap,
    "unit": unit,
    "n": len(differences),
    "subjects": count,
    "left_out": left_out,
    "differences": differences.tolist(),
    "verdict": _verdict(interval, len(differences), metric),
    "caution": _caution(unit, count),
  }


def _units(records, models, metric, protocol):
  """Values [units, models], the subject of each unit, and what a unit is."""
  rows = [r for r in records if r["protocol"] == protocol and r["model"] in models]
  subjects = {r["subject"] for r in rows}
  unit = "subject" if len(subjects) >= ENOUGH else "slice"
  table = {}
  for row in rows:
    if ("slice" in row) == (unit == "slice"):
      key = (row["subject"], row["volume"], row.get("slice", 0))
      table.setdefault(key, {})[row["model"]] = row[metric]
  if not table or any(len(found) != len(models) for found in table.values()):
    raise UserError(
      " and ".join(models),
      "models without records of the same images",
      f"records of each model on each {unit} under the protocol {protocol}",
      "Evaluate all of them on the same files.",
    )
  keys = sorted(table)
  values = np.array([[table[k][m] for m in models] for k in keys], np.float64)
  owners = np.array([k[0] for k in keys])
  if unit == "slice":
    return values, owners, unit
  names = np.unique(owners)
  return np.array([values[owners == s].mean(axis=0) for s in names]), names, unit


def _groups(subjects, unit):
  """Indices of the units that are resampled together: one array a cluster."""
  if unit == "subject":
    return [np.arange(len(subjects))]
  return [np.flatnonzero(subjects == s) for s in np.unique(subjects)]


def _resampled_means(values, groups, bootstrap, seed):
  """Means [bootstrap, columns]: clusters drawn first, then units within each.

  One group is resampled directly. The mean weighs every unit alike, as the mean
  of the sample itself does.
  """
  rng = np.random.default_rng(seed)
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
  return sums / counts


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
  values, subjects, unit = _units(records, (a, teacher, student), metric, protocol)
  keep = np.isfinite(values).all(axis=1)
  values, subjects = values[keep], subjects[keep]
  sign = 1 if metric in HIGHER_IS_BETTER else -1
  result = {"gap_closed": None, "gap_ci95": None, "gap_note": None}
  mean = values.mean(axis=0) if len(values) else np.zeros(3)
  if sign * (mean[1] - mean[2]) <= 0:
    note = f"{teacher} is not better than {student}, so there is no gap to close"
    return {**result, "gap_note": note}
  result["gap_closed"] = float((mean[0] - mean[2]) / (mean[1] - mean[2]))
  means = _resampled_means(values, _groups(subjects, unit), bootstrap, seed)
  gaps = means[:, 1] - means[:, 2]
  if len(values) < 2 or (sign * gaps).min() <= 0:
    note = f"the gap between {teacher} and {student} is too uncertain for an interval"
    return {**result, "gap_note": note}
  return {**result, "gap_ci95": _interval((means[:, 0] - means[:, 2]) / gaps)}


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
