"""The linear mixed-effects model on data whose answer is known."""

import numpy as np
import pytest

from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics import mixed_effects

SUBJECTS, REGIONS = 8, 6


def data(effect, seed=0, noise=0.3):
  """Values, models, subjects and regions of a balanced design.

  Each network is measured in each region; levels of subjects and regions differ.
  """
  rng = np.random.default_rng(seed)
  found = []
  for subject in range(SUBJECTS):
    level = 10 + rng.normal(0, 2)
    for roi in range(REGIONS):
      place = level + rng.normal(0, 1)
      for model, gain in (("edsr", 0.0), ("kd", effect), ("swinir", 1.0)):
        snr = place + gain + rng.normal(0, noise)
        found.append((snr, model, f"s{subject}", roi))
  return tuple(map(np.array, zip(*found, strict=True)))


def test_a_balanced_design_gives_the_paired_means_and_their_error():
  columns = data(0.2)
  effects = {e.model: e for e in mixed_effects(*columns, reference="edsr")}
  assert list(effects) == ["kd", "swinir"]
  values = columns[0].reshape(SUBJECTS * REGIONS, 3)
  residuals = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0)
  residuals += values.mean()
  variance = (residuals**2).sum() / ((len(values) - 1) * 2)
  error = np.sqrt(2 * variance / len(values))
  for k, model in ((1, "kd"), (2, "swinir")):
    difference = (values[:, k] - values[:, 0]).mean()
    assert effects[model].difference == pytest.approx(difference, abs=1e-6)
    low, high = effects[model].ci95
    assert high - low == pytest.approx(2 * 1.96 * error, rel=1e-3)
    assert low < effects[model].difference < high
  assert effects["swinir"].p < 1e-6


@pytest.mark.slow
def test_no_effect_is_seldom_claimed():
  false = [
    mixed_effects(*data(0.0, seed), reference="edsr")[0].p < 0.05
    for seed in range(1, 21)
  ]
  assert sum(false) <= 4  # more in one of a thousand, were it 5% each


def test_values_that_are_not_finite_are_left_out():
  values, *labels = data(0.2)
  spoilt = np.append(values, np.inf), *(np.append(x, x[:1]) for x in labels)
  assert mixed_effects(*spoilt, reference="edsr") == mixed_effects(
    values, *labels, reference="edsr"
  )


@pytest.mark.parametrize(
  ("rows", "reference", "words"),
  [
    (slice(0), "edsr", "reference: found 'edsr'"),
    (slice(None), "edrs", "Did you mean 'edsr'"),
    (slice(0, None, 3), "edsr", "models: found edsr alone"),
    (slice(3), "edsr", "regions: found fewer than two"),
  ],
)
def test_too_little_to_compare(rows, reference, words):
  with pytest.raises(ArgumentError, match=words):
    mixed_effects(*(column[rows] for column in data(0.1)), reference=reference)


def test_columns_of_one_length():
  values, models, subjects, regions = data(0.1)
  with pytest.raises(ArgumentError, match="subjects: found shape"):
    mixed_effects(values, models, subjects[1:], regions, reference="edsr")
