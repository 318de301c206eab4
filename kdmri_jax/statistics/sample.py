"""Paired values, arranged by unit and seed."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
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


def arrange(
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
