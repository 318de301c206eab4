"""Compares two models on the same images."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics import equivalence, resampling
from kdmri_jax.statistics.equivalence import Equivalence
from kdmri_jax.statistics.resampling import ENOUGH


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The difference of two models; `print` shows it as a sentence.

  Attributes:
    mean_difference: mean of a - b over units and seeds.
    ci95: its interval of 95%, [low, high]; None below two units.
    ci95_method: "bootstrap", or "t" over the seeds; None without an interval.
    wilcoxon_p: two-sided signed-rank test over the units' means over seeds, valid for
      these trainings only; 1.0 where all differences are 0, None below two units.
    unit: the paired unit, "subject" or "slice".
    n: number of units.
    subjects: number of subjects.
    left_out: number of units with a value that is not finite.
    n_seeds: number of seeds.
    seeds_better: seeds with which the mean difference favours a.
    seed_differences: the mean difference with each seed.
    differences: the difference of each unit, mean over seeds.
    verdict: of a, by the interval; "too_few" below `ENOUGH` units.
    equivalence: the test against a margin; None where no margin was given.
  """

  mean_difference: float
  ci95: list[float] | None
  ci95_method: Literal["bootstrap", "t"] | None
  wilcoxon_p: float | None
  unit: Literal["subject", "slice"]
  n: int
  subjects: int
  left_out: int
  n_seeds: int
  seeds_better: int
  seed_differences: list[float]
  differences: list[float]
  verdict: Literal["better", "worse", "undecided", "too_few"]
  equivalence: Equivalence | None

  def __str__(self) -> str:
    text = f"a - b = {self.mean_difference:+.4g}"
    if self.ci95 is not None:
      text += " [{:+.4g}, {:+.4g}]".format(*self.ci95)
    text += f" over {_counted(self.n, self.unit)}"
    if self.unit == "slice":
      text += f" of {_counted(self.subjects, 'subject')}"
    if self.n_seeds > 1:
      text += f" and {self.n_seeds} seeds"
    if self.ci95 is not None:
      method = f"95% {self.ci95_method} interval"
      text += f" ({method}, Wilcoxon p = {self.wilcoxon_p:.3g})"
    return f"{_VERDICTS[self.verdict]}: {text}.{self._equivalent()}"

  def _equivalent(self) -> str:
    if self.equivalence is None:
      return ""
    margin, p, ends = self.equivalence
    if p is None or ends is None:
      return ""
    said = "shown" if self.equivalence.shown else "not shown"
    interval = "90% t interval [{:+.4g}, {:+.4g}]".format(*ends)
    return f" Equivalence within ±{margin:g} is {said} ({interval}, TOST p = {p:.3g})."


_VERDICTS = {
  "better": "a is better than b",
  "worse": "a is worse than b",
  "undecided": "No difference can be claimed",
  "too_few": f"Too few to claim a difference (at least {ENOUGH} are needed)",
}


class Share(NamedTuple):
  """The share of the gap between two models that a third one closes.

  Attributes:
    value: (a - b) / (teacher - b) of the means; None where the teacher is not better,
      or no unit has finite values.
    ci95: its interval of 95%, [low, high]; None below two units, or where the
      resampled gap is not always positive.
    n_seeds: number of seeds.
  """

  value: float | None
  ci95: list[float] | None
  n_seeds: int


def compare(
  a: ArrayLike,
  b: ArrayLike,
  subjects: ArrayLike | None = None,
  *,
  seeds: ArrayLike | None = None,
  higher_is_better: bool = True,
  margin: float | None = None,
  bootstrap: int = 2000,
  bootstrap_seed: int = 0,
) -> Comparison:
  """Compares two models by a metric of the same images.

  With at least `ENOUGH` subjects the unit is the subject: the mean over its values.
  With fewer it is the single value, of a slice; then subjects are resampled first and
  slices within them (one subject: slices only). With several seeds every unit has a
  difference per seed, and seeds are resampled independently of the units. A bootstrap
  of few seeds underestimates their spread, so the t interval over the seeds' mean
  differences (n - 1 degrees of freedom) replaces the percentile bootstrap's where it is
  wider.

  Args:
    a: values of the model whose gain is estimated, [N].
    b: values of the model to compare with, [N]; b[i] is of the same image as a[i].
    subjects: the subject of each value, [N]; None for one value per subject.
    seeds: the seed of the training of each value, [N]; None for one training. Each seed
      has the same images, with equal order within each subject.
    higher_is_better: whether larger values are better.
    margin: largest difference that does not matter, in the unit of the values; enables
      the test of equivalence.
    bootstrap: number of resamples.
    bootstrap_seed: seed of the resampling; the same one gives the same interval.

  Returns:
    The difference, its interval, the tests.

  Raises:
    ArgumentError: the arrays do not fit together, no unit has finite values, or the
      margin is not positive.

  Source: crossed bootstrap: Owen, Annals of Applied Statistics 1 (2007); equivalence:
    Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987).
  """
  sample = resampling.sample({"a": a, "b": b}, subjects, seeds)
  if not len(sample.values):
    raise ArgumentError("a", "no finite value that can be paired", "finite values")
  sign = 1 if higher_is_better else -1
  crossed = sample.values[..., 0] - sample.values[..., 1]
  differences, by_seed = crossed.mean(axis=1), crossed.mean(axis=0)
  interval, method = None, None
  if len(differences) > 1:
    means = resampling.means(sample, bootstrap, bootstrap_seed)
    resampled = means[:, 0] - means[:, 1]
    centre = differences.mean()
    interval, method = resampling.wider_interval(resampled, centre, by_seed)
  return Comparison(
    mean_difference=float(differences.mean()),
    ci95=interval,
    ci95_method=method,
    wilcoxon_p=_wilcoxon(differences),
    unit="subject" if sample.by_subject else "slice",
    n=len(differences),
    subjects=len(np.unique(sample.subjects)),
    left_out=sample.left_out,
    n_seeds=len(by_seed),
    seeds_better=int(np.count_nonzero(sign * by_seed > 0)),
    seed_differences=by_seed.tolist(),
    differences=differences.tolist(),
    verdict=_verdict(interval, len(differences), sign),
    equivalence=None if margin is None else equivalence.within(sample, margin),
  )


def share_of_gap(
  a: ArrayLike,
  b: ArrayLike,
  teacher: ArrayLike,
  subjects: ArrayLike | None = None,
  *,
  seeds: ArrayLike | None = None,
  higher_is_better: bool = True,
  bootstrap: int = 2000,
  bootstrap_seed: int = 0,
) -> Share:
  """The share of the gap between a teacher and model b that model a closes.

  The interval is computed as in `compare`, the t interval by linearisation of the
  ratio.

  Args:
    a: values of the model whose gain is estimated, [N].
    b: values of the model to compare with, [N].
    teacher: values of the model that bounds the gap, [N].
    subjects: as `compare`.
    seeds: as `compare`.
    higher_is_better: as `compare`.
    bootstrap: as `compare`.
    bootstrap_seed: as `compare`.

  Returns:
    The share and its interval.

  Raises:
    ArgumentError: the arrays do not fit together.
  """
  models: Mapping[str, ArrayLike] = {"a": a, "teacher": teacher, "b": b}
  sample = resampling.sample(models, subjects, seeds)
  if not len(sample.values):
    return Share(None, None, sample.values.shape[1])
  sign, by_seed = 1 if higher_is_better else -1, sample.values.mean(axis=0)
  gain, gap = by_seed[:, 0] - by_seed[:, 2], by_seed[:, 1] - by_seed[:, 2]
  if sign * gap.mean() <= 0:
    return Share(None, None, len(gap))
  share = float(gain.mean() / gap.mean())
  means = resampling.means(sample, bootstrap, bootstrap_seed)
  gaps = means[:, 1] - means[:, 2]
  if len(sample.values) < 2 or (sign * gaps).min() <= 0:
    return Share(share, None, len(gap))
  shares = (means[:, 0] - means[:, 2]) / gaps
  linearised = (gain - share * gap) / gap.mean()
  interval, _ = resampling.wider_interval(shares, share, linearised)
  return Share(share, interval, len(gap))


def _wilcoxon(differences):
  if len(differences) < 2:
    return None
  if not differences.any():
    return 1.0
  return float(scipy.stats.wilcoxon(differences).pvalue)


def _verdict(interval, n, sign):
  if n < ENOUGH:
    return "too_few"
  low, high = interval
  if low <= 0 <= high:
    return "undecided"
  return "better" if (low > 0) == (sign > 0) else "worse"


def _counted(count, noun):
  return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
