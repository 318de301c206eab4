"""Are two models equally good, up to a margin?"""

import math
from typing import NamedTuple

import scipy

from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics import standard_errors
from kdmri_jax.statistics.sample import Sample

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
  and with both variances of the mean (`standard_errors.of_mean`); the largest p counts,
  and the widest interval. In simulations at the margin, with 2 to 8 seeds, 6 or 12
  subjects and any share of the seeds in the variance, 3% to 5% are then called
  equivalent; without the sum up to 8%.

  Args:
    sample: values of the two models.
    margin: largest difference that does not matter, in the unit of the values.

  Raises:
    ArgumentError: the margin is not a positive number.

  Source: Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987).
  """
  if not 0 < margin < math.inf:
    raise ArgumentError("margin", f"{margin}", "a positive number")
  crossed = sample.values[..., 0] - sample.values[..., 1]
  if len(crossed) < 2:
    return Equivalence(margin, None, None)
  errors = standard_errors.of_mean(crossed, sample.subjects)
  centre = float(crossed.mean())
  half = standard_errors.half_width(errors, 1 - 2 * _LEVEL)
  inside = margin - abs(centre)  # from the nearer bound
  p = max(_p(inside, *each) for each in errors)
  return Equivalence(margin, p, [centre - half, centre + half])


def _p(inside, error, freedom):
  """The larger p of the two one-sided tests."""
  if error == 0:
    return 0.0 if inside > 0 else 1.0
  return float(scipy.stats.t.sf(inside / error, freedom))
