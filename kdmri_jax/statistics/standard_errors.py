"""Standard errors of a mean over subjects and seeds, and intervals from them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy


class StandardError(NamedTuple):
  """A standard error of a mean, and its degrees of freedom."""

  error: float
  freedom: float


def of_mean(values: np.ndarray, subjects: np.ndarray) -> list[StandardError]:
  """The standard errors of a mean: over subjects, over seeds, and of both.

  That over subjects takes the units of a subject together, as many as it has, so that
  units of one subject need not be independent. With one subject it is over its units.
  The other two are there with several seeds only; the third is the root of the sum of
  both variances.

  Args:
    values: of each unit with each seed, [units, seeds]; at least two units.
    subjects: the subject of each unit, [units].

  Source: errors of clusters: Liang and Zeger, Biometrika 73 (1986); sums of variances:
    Satterthwaite, Biometrics Bulletin 2 (1946).
  """
  units, seeds = values.shape
  by_unit = values.mean(axis=1)
  names, owner = np.unique(subjects, return_inverse=True)
  if len(names) > 1:
    from_mean = np.bincount(owner, by_unit - by_unit.mean())
    by_unit = len(names) / units * from_mean
  errors = [_over(by_unit)]
  if seeds > 1:
    errors.append(_over(values.mean(axis=0)))
    errors.append(_sum(*errors))
  return errors


def half_width(errors: Sequence[StandardError], level: float) -> float:
  """Half the width of the widest t interval of the mean; `level`: such as 0.95."""
  t = scipy.stats.t.ppf((1 + level) / 2, [each.freedom for each in errors])
  return float(np.max(t * [each.error for each in errors]))


def _over(values):
  return StandardError(np.std(values, ddof=1) / np.sqrt(len(values)), len(values) - 1)


def _sum(first, second):
  squares = np.square([first.error, second.error])
  if not squares.any():
    return StandardError(0.0, 1)
  freedom = squares**2 / np.array([first.freedom, second.freedom])
  return StandardError(np.sqrt(squares.sum()), squares.sum() ** 2 / freedom.sum())
