"""Paired values by unit and seed, their resampled means, and intervals of 95%."""

from typing import NamedTuple

import numpy as np
import scipy.stats

from kdmri_jax.errors import UserError

ENOUGH = 6
"""Fewest pairs with which the exact two-sided Wilcoxon test can reach 0.05."""


class Sample(NamedTuple):
  """Values [units, seeds, models], all finite, and whose they are.

  Attributes:
    values: see above.
    subjects: the subject of each unit.
    by_slice: whether the unit is the slice, else it is the subject.
    left_out: units that had a value that is not finite.
  """

  values: np.ndarray
  subjects: np.ndarray
  by_slice: bool
  left_out: int


class Interval(NamedTuple):
  """An interval of 95%, and how it was made.

  Attributes:
    ends: [low, high].
    method: "bootstrap", or "t" over the seeds.
  """

  ends: list[float]
  method: str


def pick(records: list[dict], models, metric: str, protocol: str) -> Sample:
  """The values of several models on the same images, with the seeds they share.

  The unit is the subject (the mean over its volumes) with at least `ENOUGH` subjects,
  else the slice.

  Args:
    records: records of `tables.Tables`, volumes and slices.
    models: their names.
    metric: key of the value.
    protocol: whose records to take.

  Raises:
    UserError: a model has no records, the models were not measured on the same images
      or share no seed.
  """
  rows = [r for r in records if r["protocol"] == protocol and r["model"] in models]
  by_slice = len({r["subject"] for r in rows}) < ENOUGH
  seeds = set.intersection(
    *({r.get("seed") for r in rows if r["model"] == model} for model in models)
  )
  columns = [(seed, model) for seed in sorted(seeds) for model in models]
  table = {}
  for row in rows:
    if ("slice" in row) == by_slice and row.get("seed") in seeds:
      key = (row["subject"], row["volume"], row.get("slice", 0))
      table.setdefault(key, {})[row.get("seed"), row["model"]] = row[metric]
  if not table or any(len(found) != len(columns) for found in table.values()):
    raise UserError(
      " and ".join(models),
      "models without records of the same images",
      f"records of each model on each image under the protocol {protocol}, with the "
      "same seeds",
      "Evaluate all of them on the same files.",
    )
  keys = sorted(table)
  values = np.array([[table[k][c] for c in columns] for k in keys], np.float64)
  values = values.reshape(len(keys), len(seeds), len(models))
  owners = np.array([k[0] for k in keys])
  if not by_slice:
    names = np.unique(owners)
    values = np.array([values[owners == name].mean(axis=0) for name in names])
    owners = names
  keep = np.isfinite(values).all(axis=(1, 2))
  return Sample(values[keep], owners[keep], by_slice, int(np.count_nonzero(~keep)))


def means(sample: Sample, bootstrap: int, seed: int) -> np.ndarray:
  """Means [bootstrap, models]: clusters, then units within each, crossed with seeds.

  One group is resampled directly. The mean weighs every unit alike, as the mean
  of the sample itself does.

  Source: resampling crossed factors: Owen, Annals of Applied Statistics 1 (2007).
  """
  rng = np.random.default_rng(seed)
  units, seeds, models = sample.values.shape
  values = sample.values.reshape(units, -1)
  groups = _groups(sample)
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


def wider_interval(resampled, centre: float, by_seed) -> Interval:
  """The percentile bootstrap interval, or the t interval over seeds where it is wider.

  Resampling a handful of seeds shows less of their spread than there is: with three
  that differ more than subjects do, a bootstrap interval excludes zero in a quarter of
  the cases without any effect. The t interval with n - 1 degrees of freedom knows how
  little n seeds say, but nothing of the spread between subjects. So the wider of both
  is taken.

  Args:
    resampled: the resampled values of what the interval is about.
    centre: its value.
    by_seed: its value with each seed, up to a constant.
  """
  low, high = map(float, np.percentile(resampled, [2.5, 97.5]))
  n = len(by_seed)
  if n > 1:
    half = scipy.stats.t.ppf(0.975, n - 1) * np.std(by_seed, ddof=1) / np.sqrt(n)
    if 2 * half > high - low:
      return Interval([float(centre - half), float(centre + half)], "t")
  return Interval([low, high], "bootstrap")


def _groups(sample):
  """Indices of the units that are resampled together: one array a cluster."""
  if not sample.by_slice:
    return [np.arange(len(sample.subjects))]
  return [np.flatnonzero(sample.subjects == s) for s in np.unique(sample.subjects)]
