"""Are two models equally good, up to a margin?"""

import math
from typing import NamedTuple

import numpy as np
import scipy

from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics.resampling import Sample

_LEVEL = 0.05


class Equivalence(NamedTuple):
  """Two one-sided tests of a mean difference against a margin.

  Attributes:
    margin: largest difference that does not matter.
    p: of a difference as large as the margin or larger; None below two units.
    ci90: 90% interval of the difference, [low, high], within the margin exactly where p
      is below 0.05; None below two units.
  """

  margin: float
  p: float | None
  ci90: list[float] | None

  @property
  def shown(self) -> bool:
    """Whether the models are equivalent at the level 0.05."""
    return self.p is not None and self.p < _LEVEL


def within(sample: Sample, margin: float) -> Equivalence:
  """Tests whether the difference of a sample's first two models is within a margin.

  The t tests are over subjects; with one subject over its slices, and then p holds for
  that subject alone. With several seeds the same tests are made over the seeds' means,
  and with the sum of both variances of the mean (Satterthwaite's degrees of freedom);
  the largest p counts, and the widest interval. In simulations at the margin, with 2 to
  8 seeds, 6 or 12 subjects and any share of the seeds in the variance, 3% to 5% are
  then called equivalent; without the sum up to 8%.

  Args:
    sample: values of the two models.
    margin: largest difference that does not matter, in the unit of the values.

  Raises:
    ArgumentError: the margin is not a positive number.

  Source: Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987); sums of
    variances: Satterthwaite, Biometrics Bulletin 2 (1946).
  """
  if not 0 < margin < math.inf:
    raise ArgumentError("margin", f"{margin}", "a positive number")
  crossed = sample.values[..., 0] - sample.values[..., 1]
  names = np.unique(sample.subjects)
  if len(names) > 1:
    crossed = np.array([crossed[sample.subjects == n].mean(axis=0) for n in names])
  units, seeds = crossed.shape
  if units < 2:
    return Equivalence(margin, None, None)
  errors = [_error(crossed.mean(axis=1))]
  if seeds > 1:
    errors.append(_error(crossed.mean(axis=0)))
    errors.append(_sum(*errors))
  centre = float(crossed.mean())
  half = max(
    scipy.stats.t.ppf(1 - _LEVEL, freedom) * error for error, freedom in errors
  )
  inside = margin - abs(centre)  # from the nearer bound
  p = max(_p(inside, *error) for error in errors)
  return Equivalence(margin, p, [float(centre - half), float(centre + half)])


def _error(differences):
  """Standard error of the mean, and its degrees of freedom."""
  n = len(differences)
  return np.std(differences, ddof=1) / np.sqrt(n), n - 1


def _sum(first, second):
  """Likewise, of a mean with both errors."""
  squares = np.square([first[0], second[0]])
  if not squares.any():
    return 0.0, 1
  freedom = squares.sum() ** 2 / np.sum(squares**2 / np.array([first[1], second[1]]))
  return np.sqrt(squares.sum()), freedom


def _p(inside, error, freedom):
  """The larger p of the two one-sided tests."""
  if error == 0:
    return 0.0 if inside > 0 else 1.0
  return float(scipy.stats.t.sf(inside / error, freedom))
