"""The linear mixed-effects model on data whose answer is known."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from kdmri_jax.errors import ArgumentError
from kdmri_jax.statistics import mixed_effects

SUBJECTS, REGIONS = 8, 6


def data(effect, seed=0, noise=0.3, *, regions=(REGIONS,) * SUBJECTS, spread=2.0):
  """Values, models, subjects and regions; `regions`: their number in each subject.

  Each network is measured in each region; levels of subjects and regions differ.
  """
  rng = np.random.default_rng(seed)
  found = []
  for subject, count in enumerate(regions):
    level = 10 + rng.normal(0, spread)
    for roi in range(count):
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
    t = scipy.stats.t.ppf(0.975, 2 * (SUBJECTS * REGIONS - 1))
    assert high - low == pytest.approx(2 * t * error, rel=1e-3)
    assert low < effects[model].difference < high
  assert effects["swinir"].p < 1e-6


def t_of(values, models, subjects, regions):
  """The t distribution of the differences: rows less regions and networks, plus one."""
  units = len(set(zip(subjects, regions, strict=True)))
  return scipy.stats.t(len(values) - units - len(set(models)) + 1)


def dense(values, models, subjects, regions):
  """Differences, their errors and deviance of REML, by the whole covariance."""
  names = list(dict.fromkeys(models))
  fixed = (
    np.stack([models == name for name in names], axis=1)
    @ np.vstack([np.ones(len(names)), np.eye(len(names))[1:]]).T
  )
  owner = np.equal.outer(subjects, subjects)
  unit = owner & np.equal.outer(regions, regions)

  def solve(deviations):
    covariance = np.exp(2 * deviations[0]) * np.eye(len(values))
    covariance += deviations[1] ** 2 * unit + deviations[2] ** 2 * owner
    inverse = np.linalg.inv(covariance)
    information = fixed.T @ inverse @ fixed
    effects = np.linalg.solve(information, fixed.T @ inverse @ values)
    left = values - fixed @ effects
    deviance = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1]
    deviance += left @ inverse @ left
    return effects, np.sqrt(np.diag(np.linalg.inv(information))), deviance

  single = len(np.unique(subjects)) in (
    1,
    len(set(zip(subjects, regions, strict=True))),
  )

  def cost(free):  # unit and owner cannot be told apart: the owner's level is left out
    return solve([*free, 0.0] if single else free)[2]

  start = [-1.0, 1.0] if single else [-1.0, 1.0, 1.0]
  options = {"xatol": 1e-6, "fatol": 1e-9}
  found = scipy.optimize.minimize(cost, start, method="Nelder-Mead", options=options)
  effects, errors, _ = solve([*found.x, 0.0] if single else found.x)
  return effects[1:], errors[1:]


@pytest.mark.parametrize(
  ("regions", "levels"),
  [
    ((1,) * 2, "subject"),
    ((1,) * 5, "subject"),
    ((2,), "region"),
    ((5,), "region"),
    ((2, 2), "subject / region"),
    ((1, 3, 2), "subject / region"),
  ],
)
@pytest.mark.parametrize("noise", [0.05, 0.3, 6.0])  # 6: levels on the boundary
def test_every_design_is_fitted_in_the_form_that_is_identified(regions, levels, noise):
  columns = data(0.2, 0, noise, regions=regions)
  found = mixed_effects(*columns, reference="edsr")
  assert {effect.levels for effect in found} == {levels}
  for effect, value, error in zip(found, *dense(*columns), strict=True):
    assert effect.difference == pytest.approx(value, rel=1e-5, abs=1e-6)
    width = effect.ci95[1] - effect.ci95[0]
    t = t_of(*columns)
    assert width == pytest.approx(2 * t.ppf(0.975) * error, rel=1e-3)
    p = 2 * t.sf(abs(value) / error)
    assert effect.p == pytest.approx(p, rel=2e-3, abs=1e-9)


def test_networks_without_values_in_some_regions():
  columns = tuple(np.delete(x, [1, 3, 9, 20]) for x in data(0.2, regions=(2, 3, 1, 3)))
  found = mixed_effects(*columns, reference="edsr")
  for effect, value, error in zip(found, *dense(*columns), strict=True):
    assert effect.difference == pytest.approx(value, rel=1e-4, abs=1e-5)
    width = effect.ci95[1] - effect.ci95[0]
    assert width == pytest.approx(2 * t_of(*columns).ppf(0.975) * error, rel=1e-3)


@pytest.mark.parametrize("regions", [(1,) * 8, (4,), (3, 5, 2)])
def test_the_fit_agrees_with_statsmodels(regions):
  api = pytest.importorskip("statsmodels.formula.api")
  import pandas as pd

  columns = data(0.2, regions=regions)
  found = mixed_effects(*columns, reference="edsr")
  names = ("value", "model", "subject", "region")
  table = pd.DataFrame(dict(zip(names, columns, strict=True)))
  nested = {"re_formula": "1", "vc_formula": {"region": "0 + C(region)"}}
  levels = found[0].levels
  options = nested if levels == "subject / region" else {}
  group = "region" if levels == "region" else "subject"
  fitted = api.mixedlm("value ~ model", table, groups=group, **options).fit()
  for effect in found:
    name = f"model[T.{effect.model}]"
    assert effect.difference == pytest.approx(fitted.params[name], rel=1e-4)
    error, t = fitted.bse[name], t_of(*columns)
    ends = effect.difference + error * np.array(t.interval(0.95))
    assert effect.ci95 == pytest.approx(ends, rel=2e-3)
    p = 2 * t.sf(abs(fitted.tvalues[name]))
    assert effect.p == pytest.approx(p, rel=0.02, abs=1e-9)


@pytest.mark.parametrize("regions", [(1,) * 5, (4,), (2, 3)])
@pytest.mark.parametrize("effect", [0.0, 0.5])
def test_differences_without_spread_are_exact(regions, effect):
  columns = data(effect, noise=0.0, regions=regions)
  kd, _ = mixed_effects(*columns, reference="edsr")
  assert kd.ci95 == pytest.approx((kd.difference,) * 2)
  assert kd.difference == pytest.approx(effect, abs=1e-9)
  assert kd.p == (0.0 if effect else 1.0)


def test_equal_values_have_no_difference():
  values, *labels = data(0.2)
  for effect in mixed_effects(np.full_like(values, 7.0), *labels, reference="edsr"):
    assert (effect.difference, effect.ci95, effect.p) == (0.0, (0.0, 0.0), 1.0)


def test_the_unit_of_the_values_does_not_matter():
  values, *labels = data(0.2, regions=(1, 2, 3))
  kd = mixed_effects(values, *labels, reference="edsr")[0]
  for scale in (1e-6, 1e6):
    other = mixed_effects(scale * values, *labels, reference="edsr")[0]
    assert other.difference == pytest.approx(scale * kd.difference, rel=1e-4)
    assert other.p == pytest.approx(kd.p, rel=1e-4)


def test_any_values_give_finite_results_or_a_reason():
  rng = np.random.default_rng(0)
  pool = [0.0, 1.0, np.nan, np.inf, 1e-300, 1e300, 30.0, 30.0000001]
  outcomes = set()
  for trial in range(300):
    n = rng.integers(1, 13)
    values = rng.choice(pool, n) if trial % 2 else rng.integers(0, 3, n)
    models, subjects, regions = rng.integers(0, 3, (3, n)).astype(str)
    try:
      found = mixed_effects(values, models, subjects, regions, reference="0")
    except ArgumentError:
      outcomes.add("reason")
      continue
    for effect in found:
      assert np.isfinite([effect.difference, *effect.ci95, effect.p]).all()
      outcomes.add(effect.levels)
  assert outcomes == {"reason", "subject / region", "subject", "region"}


@pytest.mark.parametrize("regions", [(2,), (1, 1, 1), (2, 2)])
def test_few_regions_seldom_claim_an_effect(regions):
  """5% of 200; a normal distribution in place of t claims 11% to 18%."""
  claims = sum(
    mixed_effects(*data(0.0, seed, regions=regions), reference="edsr")[0].p < 0.05
    for seed in range(200)
  )
  assert claims <= 20


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
    ([0, 4, 8], "edsr", "a value of one network alone"),
  ],
)
def test_too_little_to_compare(rows, reference, words):
  with pytest.raises(ArgumentError, match=words):
    mixed_effects(*(column[rows] for column in data(0.1)), reference=reference)


def test_columns_of_one_length():
  values, models, subjects, regions = data(0.1)
  with pytest.raises(ArgumentError, match="subjects: found shape"):
    mixed_effects(values, models, subjects[1:], regions, reference="edsr")
