"""Paired values by unit and seed, their resampled means, and intervals of 95%."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from kdmri_jax.errors import ArgumentError

ENOUGH = 6
"""Fewest pairs with which the exact two-sided Wilcoxon test can reach 0.05."""


class Sample(NamedTuple):
  """Values [units, seeds, models], all finite, with their subjects.

  Attributes:
    values: see above.
    subjects: the subject of each unit.
    by_subject: whether the unit is the subject; otherwise it is the slice.
    left_out: number of units with a value that is not finite.
  """

  values: np.ndarray
  subjects: np.ndarray
  by_subject: bool
  left_out: int


def sample(
  models: Mapping[str, ArrayLike],
  subjects: ArrayLike | None = None,
  seeds: ArrayLike | None = None,
) -> Sample:
  """Arranges values of several models by unit and seed.

  The unit is the subject (the mean over its values) with at least `ENOUGH` subjects,
  else the value.

  Args:
    models: argument's name -> values [N], with equal order of the images.
    subjects: the subject of each value, [N]; None for one value per subject.
    seeds: the seed of the training of each value, [N]; None for one training. Each seed
      has the same images, with equal order within each subject.

  Raises:
    ArgumentError: the arrays do not fit together.
  """
  columns = {name: np.asarray(values, np.float64) for name, values in models.items()}
  count = next(iter(columns.values())).size
  labels = {"seeds": np.zeros(count, int) if seeds is None else np.asarray(seeds)}
  if subjects is not None:
    labels["subjects"] = np.asarray(subjects)
  for name, column in {**columns, **labels}.items():
    if column.shape != (count,) or not count:
      expected = f"one dimension, {count or 'some'} values"
      raise ArgumentError(name, f"shape {column.shape}", expected)
  places, owners = _images(labels.get("subjects"), labels["seeds"])
  values = np.stack([column[places] for column in columns.values()], axis=-1)
  names = np.unique(owners)
  by_subject = subjects is None or len(names) >= ENOUGH
  if by_subject:
    with np.errstate(invalid="ignore", over="ignore"):  # not finite: left out below
      values = np.array([values[owners == name].mean(axis=0) for name in names])
    owners = names
  keep = np.isfinite(values).all(axis=(1, 2))
  return Sample(values[keep], owners[keep], by_subject, int(np.count_nonzero(~keep)))


def _images(subjects, seeds):
  """Places of each image's values, [images, seeds], and the subject of each image."""
  places, owners = [], []
  for seed in np.unique(seeds):
    found = np.flatnonzero(seeds == seed)
    own = np.arange(len(found)) if subjects is None else subjects[found]
    order = np.argsort(own, kind="stable")
    places.append(found[order])
    owners.append(own[order])
  if any(not np.array_equal(each, owners[0]) for each in owners):
    raise ArgumentError(
      "seeds",
      "other subjects, or other numbers of values, with some seeds than with others",
      "the same images with every seed",
    )
  return np.stack(places, axis=1), owners[0]


def means(sample: Sample, bootstrap: int, seed: int) -> np.ndarray:
  """Resampled means [bootstrap, models].

  Subjects are drawn, then slices within each where slices are the units; seeds are
  drawn independently. One group is resampled directly. The mean weights all units
  equally, as the mean of the sample does.

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


def wider_interval(
  resampled: np.ndarray, centre: float, by_seed: np.ndarray
) -> tuple[list[float], Literal["bootstrap", "t"]]:
  """The percentile bootstrap interval, or the t interval over seeds where it is wider.

  Resampling few seeds underestimates their spread: with three seeds that differ more
  than subjects do, a bootstrap interval excludes zero in a quarter of the cases without
  any effect. The t interval with n - 1 degrees of freedom accounts for the number of
  seeds, but not for the spread between subjects. So the wider of the two is used.

  Args:
    resampled: the resampled values of the quantity.
    centre: its value.
    by_seed: its value with each seed, up to a constant.

  Returns:
    The interval of 95%, [low, high], and its method.
  """
  low, high = map(float, np.percentile(resampled, [2.5, 97.5]))
  n = len(by_seed)
  if n > 1:
    half = scipy.stats.t.ppf(0.975, n - 1) * np.std(by_seed, ddof=1) / np.sqrt(n)
    if 2 * half > high - low:
      return [float(centre - half), float(centre + half)], "t"
  return [low, high], "bootstrap"


def _groups(sample):
  """Indices of the units that are resampled together, one array per group."""
  if sample.by_subject:
    return [np.arange(len(sample.subjects))]
  return [np.flatnonzero(sample.subjects == s) for s in np.unique(sample.subjects)]
