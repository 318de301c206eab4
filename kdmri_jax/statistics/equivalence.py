"""Are two models equally good, up to a margin?"""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats

from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics.resampling import Sample


class Equivalence(NamedTuple):
  """Two one-sided tests of a mean difference against a margin.

  Attributes:
    margin: largest difference that does not matter.
    p: of a difference as large as the margin or larger; None below two units.
  """

  margin: float
  p: float | None

  @property
  def shown(self) -> bool:
    """Whether the models are equivalent at the level 0.05."""
    return self.p is not None and self.p < 0.05


def within(sample: Sample, margin: float) -> Equivalence:
  """Tests whether the difference of a sample's first two models is within a margin.

  The t tests are over subjects; with one subject over its slices, and then p holds for
  that subject alone. With several seeds the same tests are made over the seeds' means,
  and the larger p counts.

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
  names = np.unique(sample.subjects)
  if len(names) > 1:
    crossed = np.array([crossed[sample.subjects == n].mean(axis=0) for n in names])
  found = [_tost(crossed.mean(axis=1), margin)]
  if crossed.shape[1] > 1:
    found.append(_tost(crossed.mean(axis=0), margin))
  return Equivalence(margin, None if None in found else max(found))


def _tost(differences, margin):
  """The larger p of the two one-sided t tests; None below two differences."""
  n = len(differences)
  if n < 2:
    return None
  error = np.std(differences, ddof=1) / np.sqrt(n)
  inside = margin - abs(differences.mean())  # from the nearer bound
  if error == 0:
    return 0.0 if inside > 0 else 1.0
  return float(scipy.stats.t.sf(inside / error, n - 1))
