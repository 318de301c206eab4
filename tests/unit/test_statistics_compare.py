"""Statistics on plain arrays: layouts, equivalence, sentences, refusals."""

import numpy as np
import pytest
import scipy.stats
from helpers.measured import normal

from kdmri_jax import statistics
from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics import equivalence
from kdmri_jax.statistics.resampling import Sample


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
    found = statistics.compare(gain, 0 * gain, margin=0.5, bootstrap=1)
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
  assert text.startswith(start) and "over 8 subjects (95% bootstrap interval" in text
  assert "Equivalence within ±0.5 is shown (90% t interval [+0.29" in text
  assert text.endswith(").") and "], TOST p = " in text
  noise = normal(0, 1, 8, 0)
  text = str(statistics.compare(noise, 0 * noise, margin=0.1))
  assert text.startswith("No difference can be claimed: ")
  assert "Equivalence within ±0.1 is not shown" in text


def test_share_of_the_gap():
  base = normal(30, 1, 10, 0)
  found = statistics.share_of_gap(base + 0.5, base, base + 2)
  assert found.value == pytest.approx(0.25)
  np.testing.assert_allclose(found.ci95, 0.25)
  assert statistics.share_of_gap(base + 0.5, base, base - 1).value is None
  infinite = np.full(10, np.inf)
  assert statistics.share_of_gap(base, base, infinite).value is None


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
