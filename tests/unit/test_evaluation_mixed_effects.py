"""The linear mixed-effects model on data whose answer is known."""

import numpy as np
import pytest

from kdmri_jax.errors import UserError
from kdmri_jax.statistics import mixed_effects

SUBJECTS, REGIONS = 8, 6


def records(effect, seed=0, noise=0.3):
  """Balanced: each network in each region; levels of subjects and regions differ."""
  rng = np.random.default_rng(seed)
  found = []
  for subject in range(SUBJECTS):
    level = 10 + rng.normal(0, 2)
    for roi in range(REGIONS):
      place = level + rng.normal(0, 1)
      for model, gain in (("edsr", 0.0), ("kd", effect), ("swinir", 1.0)):
        snr = place + gain + rng.normal(0, noise)
        found.append(dict(model=model, subject=f"s{subject}", roi=roi, snr=snr))
  return found


def test_a_balanced_design_gives_the_paired_means_and_their_error():
  data = records(0.2)
  effects = {e.model: e for e in mixed_effects.fit(data, "edsr")}
  assert list(effects) == ["kd", "swinir"]
  values = np.array([r["snr"] for r in data]).reshape(SUBJECTS * REGIONS, 3)
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


def test_no_effect_is_seldom_claimed():
  false = [mixed_effects.fit(records(0.0, seed), "edsr")[0].p < 0.05
           for seed in range(1, 21)]  # fmt: skip
  assert sum(false) <= 4  # more in one of a thousand, were it 5% each


@pytest.mark.parametrize(
  ("data", "reference"),
  [
    ([], "edsr"),
    (records(0.1), "vdsr"),
    ([r for r in records(0.1) if r["model"] == "edsr"], "edsr"),
    (records(0.1)[:3], "edsr"),
  ],
)
def test_too_little_to_compare(data, reference):
  with pytest.raises(UserError, match="mixed-effects"):
    mixed_effects.fit(data, reference)
