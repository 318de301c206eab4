"""Statistics on plain arrays: layouts, equivalence, sentences, refusals."""

import numpy as np
import pytest
import scipy.stats
from helpers.measured import normal

from kdmri_jax import statistics
from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics import equivalence
from kdmri_jax.statistics.sample import Sample


def test_values_of_a_subject_are_averaged():
  gain = normal(0.3, 0.1, 16, 0)
  subjects = np.repeat([f"s{n}" for n in range(8)], 2)
  found = statistics.compare(gain, 0 * gain, subjects)
  assert (found.unit, found.n, found.subjects) == ("subject", 8, 8)
  np.testing.assert_allclose(found.differences, gain.reshape(8, 2).mean(axis=1))
  assert found == statistics.compare(gain.reshape(8, 2).mean(axis=1), np.zeros(8))


def test_order_of_the_values_does_not_matter():
  rng = np.random.default_rng(0)
  a, b = normal(31, 1, 24, 1), normal(30, 1, 24, 2)
  subjects, seeds = np.tile(np.arange(8), 3), np.repeat([42, 43, 44], 8)
  order = rng.permutation(24)
  shuffled = statistics.compare(a[order], b[order], subjects[order], seeds=seeds[order])
  assert shuffled == statistics.compare(a, b, subjects, seeds=seeds)
  assert shuffled == statistics.compare(a, b, seeds=seeds)
  assert shuffled.n_seeds == 3 and shuffled.n == 8


def test_few_subjects_are_compared_by_slice():
  gain = normal(0.3, 0.1, 20, 0)
  found = statistics.compare(gain, 0 * gain, np.repeat(["x", "y"], 10))
  assert (found.unit, found.n, found.subjects) == ("slice", 20, 2)
  assert "over 20 slices of 2 subjects" in str(found)


def test_lower_is_better():
  gain = normal(-0.3, 0.1, 9, 0)
  found = statistics.compare(gain, 0 * gain, higher_is_better=False)
  assert (found.verdict, found.seeds_better) == ("better", 1)
  assert statistics.compare(gain, 0 * gain).verdict == "worse"


@pytest.mark.parametrize("mean", [0.0, 0.1, -0.25, 0.4])
def test_equivalence_agrees_with_statsmodels(mean):
  weightstats = pytest.importorskip("statsmodels.stats.weightstats")
  a, b = normal(30 + mean, 0.2, 12, 0), normal(30, 0.2, 12, 1)
  expected, *_ = weightstats.ttost_paired(a, b, -0.3, 0.3)
  found = statistics.compare(a, b, margin=0.3).equivalence
  assert found.p == pytest.approx(expected)
  assert found.shown == (expected < 0.05)


def test_equivalence_is_that_the_90_percent_interval_lies_within_the_margin():
  """The bounds of the interval are the margins at which p is 0.05."""
  gain = normal(0.05, 0.2, 10, 3)
  ends = scipy.stats.ttest_1samp(gain, 0).confidence_interval(0.9)
  margin = max(abs(ends.low), abs(ends.high))
  for factor, shown in ((0.99, False), (1.01, True)):
    found = statistics.compare(gain, 0 * gain, margin=factor * margin)
    assert found.equivalence.shown == shown
  at = statistics.compare(gain, 0 * gain, margin=margin).equivalence
  assert at.p == pytest.approx(0.05)
  np.testing.assert_allclose(at.ci90, (ends.low, ends.high))


def test_equivalence_is_seldom_claimed_at_the_margin():
  claimed = 0
  for trial in range(400):
    gain = normal(0.5, 0.3, 12, trial)
    found = statistics.compare(gain, 0 * gain, margin=0.5)
    claimed += found.equivalence.shown
  assert 8 <= claimed <= 34  # 5% of 400


@pytest.mark.parametrize("of_seeds", [0.05, 0.2, 0.4])
def test_equivalence_is_seldom_claimed_at_the_margin_with_seeds(of_seeds):
  """Subjects and seeds each move the mean, by 0.3/sqrt(8) and of_seeds/sqrt(6)."""
  rng, claimed = np.random.default_rng(0), 0
  for _ in range(400):
    subjects, seeds = rng.normal(0, 0.3, (8, 1)), rng.normal(0, of_seeds, 6)
    gain = 1 + subjects + seeds + rng.normal(0, 0.05, (8, 6))
    sample = Sample(np.stack([gain, 0 * gain], -1), np.arange(8), True, 0)
    found = equivalence.within(sample, 1.0)
    claimed += found.shown
    assert found.shown == (found.ci90[0] > -1 and found.ci90[1] < 1)
  assert 6 <= claimed <= 34


def test_equivalence_of_seeds_adds_both_variances():
  """Against the formulas, where neither subjects nor seeds have the whole spread."""
  gain = normal(0, 0.2, (8, 1), 0) + normal(0, 0.2, 6, 1) + normal(0, 0.02, (8, 6), 2)
  owners, seeds = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
  flat = gain.ravel()
  a, b = gain.mean(1).var(ddof=1) / 8, gain.mean(0).var(ddof=1) / 6
  freedom = (a + b) ** 2 / (a**2 / 7 + b**2 / 5)
  t = scipy.stats.t(freedom, gain.mean(), np.sqrt(a + b))
  margin = max(np.abs(t.interval(0.9)))
  found = statistics.compare(flat, 0 * flat, owners, seeds=seeds, margin=margin)
  np.testing.assert_allclose(found.equivalence.ci90, t.interval(0.9))
  assert found.equivalence.p == pytest.approx(0.05)


def test_equivalence_of_slices_is_over_subjects():
  """Many slices of two subjects that disagree do not show that models agree."""
  gain = np.concatenate([normal(0.4, 0.01, 50, 0), normal(-0.4, 0.01, 50, 1)])
  subjects = np.repeat([0, 1], 50)
  assert not statistics.compare(gain, 0 * gain, subjects, margin=0.3).equivalence.shown
  alike = abs(gain) - 0.4
  assert statistics.compare(alike, 0 * gain, subjects, margin=0.3).equivalence.shown


def test_equivalence_allows_for_seeds():
  """Seeds that differ more than subjects decide."""
  gain = np.repeat([0.5, -0.5, 0.0], 10) + normal(0, 0.01, 30, 0)
  seeds = np.repeat([1, 2, 3], 10)
  crossed = statistics.compare(gain, 0 * gain, seeds=seeds, margin=0.3)
  assert not crossed.equivalence.shown
  one = gain.reshape(3, 10).mean(axis=0)
  assert statistics.compare(one, 0 * one, margin=0.3).equivalence.shown


@pytest.mark.parametrize(("gain", "p"), [(0.1, 0.0), (0.3, 1.0)])
def test_equivalence_without_spread(gain, p):
  found = statistics.compare(np.full(8, gain), np.zeros(8), margin=0.3)
  assert found.equivalence == (0.3, p, pytest.approx([gain, gain]))


def test_one_pair_tests_nothing():
  found = statistics.compare([31.0], [30.0], margin=0.5)
  assert (found.ci95, found.wilcoxon_p, found.equivalence.p) == (None, None, None)
  assert str(found) == (
    "Too few to claim a difference (at least 6 are needed): a - b = +1 over 1 subject."
  )


def test_sentence():
  gain = np.array([0.28, 0.3, 0.31, 0.29, 0.3, 0.32, 0.33, 0.31])
  text = str(statistics.compare(30 + gain, np.full(8, 30.0), margin=0.5))
  start = "a is better than b: a - b = +0.305 [+0."
  assert text.startswith(start) and "over 8 subjects (95% t interval" in text
  assert "Equivalence within ±0.5 is shown (90% t interval [+0.29" in text
  assert text.endswith(").") and "], TOST p = " in text
  noise = normal(0, 1, 8, 0)
  text = str(statistics.compare(noise, 0 * noise, margin=0.1))
  assert text.startswith("No difference can be claimed: ")
  assert "Equivalence within ±0.1 is not shown" in text


def test_the_interval_is_that_of_a_t_test_over_subjects():
  """As scipy's; with fewer than six subjects over them, too, not over their slices."""
  gain = normal(0.1, 0.2, (8, 5), 0)
  subjects = np.repeat(np.arange(8), 5)
  for n in (8, 3):
    values = gain[:n].ravel()
    found = statistics.compare(values, 0 * values, subjects[: 5 * n])
    expected = scipy.stats.ttest_1samp(gain[:n].mean(axis=1), 0)
    np.testing.assert_allclose(found.ci95, expected.confidence_interval(0.95))
  one = statistics.compare(gain[0], 0 * gain[0], subjects[:5])
  expected = scipy.stats.ttest_1samp(gain[0], 0).confidence_interval(0.95)
  np.testing.assert_allclose(one.ci95, expected)


def test_subjects_with_unequal_numbers_of_slices():
  """The error of a ratio of sums, sum of differences over number of slices."""
  counts, means = np.array([2, 7, 4]), np.array([0.9, 0.1, 0.4])
  gain = np.repeat(means, counts) + normal(0, 0.05, 13, 0)
  subjects = np.repeat(np.arange(3), counts)
  found = statistics.compare(gain, 0 * gain, subjects, margin=5.0)
  sums = np.array([gain[subjects == n].sum() for n in range(3)])
  left = sums - gain.mean() * counts
  error = np.sqrt(3 * np.sum(left**2) / 2) / 13
  t = scipy.stats.t(2, gain.mean(), error)
  np.testing.assert_allclose(found.ci95, t.interval(0.95))
  np.testing.assert_allclose(found.equivalence.ci90, t.interval(0.9))


@pytest.mark.parametrize("subjects", [2, 3, 5, 8])
def test_few_subjects_seldom_claim_an_effect(subjects):
  """5% of 200; a percentile bootstrap claims 9% to 42%."""
  rng, claims = np.random.default_rng(0), 0
  owners = np.repeat(np.arange(subjects), 10)
  for _ in range(200):
    gain = rng.normal(0, 0.2, (subjects, 1)) + rng.normal(0, 0.1, (subjects, 10))
    found = statistics.compare(gain.ravel(), np.zeros(gain.size), owners)
    claims += found.verdict in ("better", "worse")
  assert claims <= 18


def test_share_of_the_gap():
  base = normal(30, 1, 10, 0)
  found = statistics.share_of_gap(base + 0.5, base, base + 2)
  assert found.value == pytest.approx(0.25)
  np.testing.assert_allclose(found.ci95, 0.25)
  assert statistics.share_of_gap(base + 0.5, base, base - 1).value is None
  assert statistics.share_of_gap(base, base, base + normal(0.1, 1, 10, 1)).ci95 is None
  infinite = np.full(10, np.inf)
  assert statistics.share_of_gap(base, base, infinite).value is None


def test_the_interval_of_a_share_is_fiellers():
  """The roots of Fieller's quadratic for two means of paired values."""
  gain, gap = normal(0.4, 0.3, 12, 0), normal(1.0, 0.5, 12, 1)
  found = statistics.share_of_gap(gain, np.zeros(12), gap)
  (a, b), c = np.cov(gain, gap).diagonal() / 12, np.cov(gain, gap)[0, 1] / 12
  t = scipy.stats.t.ppf(0.975, 11) ** 2
  quadratic = [
    gap.mean() ** 2 - t * b,
    -2 * (gain.mean() * gap.mean() - t * c),
    gain.mean() ** 2 - t * a,
  ]
  np.testing.assert_allclose(found.ci95, np.sort(np.roots(quadratic)))
  low = statistics.share_of_gap(-gain, np.zeros(12), -gap, higher_is_better=False)
  assert low == found


@pytest.mark.parametrize("trial", range(20))
def test_the_interval_of_a_share_agrees_with_the_comparisons(trial):
  """It has 0 where a and b cannot be told apart, 1 where a and the teacher cannot."""
  effects = [normal(m, 0.4, (7, 1), 3 * trial + k) for k, m in enumerate((0, 0.3, 1))]
  b, a, teacher = (
    (effect + normal(0, 0.3, (7, 4), 100 + 3 * trial + k)).ravel()
    for k, effect in enumerate(effects)
  )
  owners, seeds = np.repeat(np.arange(7), 4), np.tile(np.arange(4), 7)
  found = statistics.share_of_gap(a, b, teacher, owners, seeds=seeds)
  if found.ci95 is None:
    pair = statistics.compare(teacher, b, owners, seeds=seeds)
    assert pair.verdict == "undecided"
    return
  for share, other in ((0, b), (1, teacher)):
    pair = statistics.compare(a, other, owners, seeds=seeds)
    inside = found.ci95[0] <= share <= found.ci95[1]
    assert inside == (pair.verdict == "undecided")


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (dict(a=np.zeros((2, 3)), b=np.zeros((2, 3))), r"a: found shape \(2, 3\)"),
    (dict(a=np.zeros(3), b=np.zeros(4)), r"b: found shape \(4,\)"),
    (dict(a=[], b=[]), r"a: found shape \(0,\)"),
    (dict(a=np.zeros(3), b=np.zeros(3), subjects=[1]), "subjects: found"),
    (dict(a=np.zeros(3), b=np.zeros(3), seeds=[1, 1]), "seeds: found"),
    (dict(a=np.zeros(3), b=np.zeros(3), seeds=[1, 1, 2]), "same images with every"),
    (
      dict(a=np.zeros(4), b=np.zeros(4), subjects=[1, 2, 1, 3], seeds=[1, 1, 2, 2]),
      "seeds: found other subjects",
    ),
    (dict(a=[np.nan] * 3, b=np.zeros(3)), "a: found no finite value"),
    (dict(a=np.ones(3), b=np.zeros(3), margin=-1.0), "margin: found -1.0"),
    (dict(a=np.ones(3), b=np.zeros(3), margin=np.nan), "margin: found nan"),
  ],
)
def test_bad_arguments_are_named(arguments, words):
  with pytest.raises(ArgumentError, match=words):
    statistics.compare(**arguments)
