"""Compares networks with a linear mixed-effects model, as Shou et al."""

from typing import Any, Literal, NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from kdmri_jax import lookup
from kdmri_jax.errors import ArgumentError

Levels = Literal["subject / region", "subject", "region"]

# Residuals of this share of the values' spread are rounding errors.
_ROUNDING = 1e-6


class Effect(NamedTuple):
  """The difference of a network from the reference.

  Attributes:
    model: the network.
    difference: of the expected values.
    ci95: 95% interval of the difference.
    p: of no difference (t test).
    levels: what has random levels in the model that was fitted.
  """

  model: str
  difference: float
  ci95: tuple[float, float]
  p: float
  levels: Levels


def mixed_effects(
  values: ArrayLike,
  models: ArrayLike,
  subjects: ArrayLike,
  regions: ArrayLike,
  *,
  reference: str,
) -> tuple[Effect, ...]:
  """Fits value ~ model + (1 | subject / region).

  The networks are fixed effects. Subjects, and regions within subjects, have random
  levels, so that differences are measured within a region. Where every subject has one
  region, the two cannot be told apart, and the model is value ~ model + (1 | subject);
  for the regions of one subject it is value ~ model + (1 | region). Intervals and p are
  those of a t distribution with the degrees of freedom within regions. The model takes
  a difference for the same in all subjects; where it is not, they are too small.

  Args:
    values: a value of each network in each region, such as SNR, [N]; values that are
      not finite are omitted.
    models: the network of each value, [N].
    subjects: the subject of each value, [N].
    regions: the region of each value, unique within its subject, [N].
    reference: the network to compare the others with.

  Returns:
    An `Effect` for every other network, in the order of the values. Where the
    differences are the same in all regions, the interval is the difference itself, and
    p is 0, or 1 for no difference.

  Raises:
    ArgumentError: the arrays differ in length, there are fewer than two networks, or
      the regions do not identify a model: fewer than two, or without networks that
      share them.

  Source: Shou et al. (ISMRM), SNR ~ model + (1 | subject / ROI), by restricted maximum
    likelihood (Patterson and Thompson, Biometrika 58, 1971).
  """
  given = {"models": models, "subjects": subjects, "regions": regions}
  columns: dict[str, Any] = {name: np.asarray(column) for name, column in given.items()}
  values = np.asarray(values, np.float64)
  for name, column in columns.items():
    if column.shape != (values.size,) or values.ndim != 1:
      expected = f"one dimension, a value for each of {values.size}"
      raise ArgumentError(name, f"shape {column.shape}", expected)
  finite = np.isfinite(values)
  values = values[finite]
  columns = {name: column[finite].tolist() for name, column in columns.items()}
  names = list(dict.fromkeys(columns["models"]))
  if reference not in names:
    raise lookup.unknown("reference", reference, names)
  others = [name for name in names if name != reference]
  if not others:
    raise ArgumentError("models", f"{reference} alone", "two networks or more")
  pairs = list(zip(columns["subjects"], columns["regions"], strict=True))
  units = {pair: k for k, pair in enumerate(dict.fromkeys(pairs))}
  owners = {name: k for k, name in enumerate(dict.fromkeys(columns["subjects"]))}
  if len(units) < 2:
    raise ArgumentError("regions", "fewer than two", "two regions or more")
  with np.errstate(over="ignore"):
    scale = values.std() or 1.0
  if not np.isfinite(scale):
    raise ArgumentError("values", "a spread that is not finite", "finite values")
  # The reference's mean, the other networks' differences from it, and the values.
  table = np.stack(
    [np.ones(len(values))]
    + [np.equal(columns["models"], name).astype(float) for name in others]
    + [(values - values.mean()) / scale],
    axis=1,
  )
  nested = _Nested(
    table, np.array([units[p] for p in pairs]), np.array([owners[s] for s, _ in units])
  )
  try:
    with np.errstate(invalid="ignore"):
      differences, errors, freedom = nested.fit()
    singular = not np.isfinite(errors).all()
  except np.linalg.LinAlgError:
    singular = True
  if singular:
    found = "values without spread, or networks that share too few regions"
    raise ArgumentError("values", found, "values from which a model can be fitted")
  half = scipy.stats.t.ppf(0.975, freedom) * errors
  with np.errstate(divide="ignore", invalid="ignore"):
    p = 2 * scipy.stats.t.sf(np.abs(differences) / errors, freedom)
  p = np.where(errors > 0, p, np.abs(differences) <= _ROUNDING)
  return tuple(
    Effect(
      name,
      float(scale * differences[k]),
      (
        float(scale * (differences[k] - half[k])),
        float(scale * (differences[k] + half[k])),
      ),
      float(p[k]),
      nested.levels,
    )
    for k, name in enumerate(others)
  )


class _Nested:
  """A linear model whose errors have levels of units and of the units' owners.

  The covariance of the errors is s^2 (1 + b E + a O), E and O with ones where two rows
  share the unit and the owner. Every product with its inverse is a sum over units and
  owners of means, weighted by `b` and `a`.

  Args:
    table: columns of the fixed effects, and the values, [N, P + 1].
    unit: the unit of each row, [N].
    owner: the owner of each unit, [U].
  """

  def __init__(self, table: np.ndarray, unit: np.ndarray, owner: np.ndarray):
    self._rows, self._effects = len(table), table.shape[1] - 1
    self._counts, self._owner = np.bincount(unit), owner
    self._means = _sums(table, unit) / self._counts[:, None]
    self._within = table - self._means[unit]
    several_owners = owner.max() > 0
    several_units = len(owner) > owner.max() + 1
    self.levels: Levels = (
      ("subject / region" if several_units else "subject")
      if several_owners
      else "region"
    )

  def fit(self) -> tuple[np.ndarray, np.ndarray, int]:
    """The effects after the first, and their standard errors, [P - 1] each.

    The third result is the number of degrees of freedom within units.

    Raises:
      ArgumentError: the units are too few to estimate the error.
    """
    x, y = self._within[:, 1:-1], self._within[:, -1]
    alone, _, rank, _ = np.linalg.lstsq(x, y, rcond=1e-9)
    freedom = self._rows - len(self._counts) - rank
    if freedom < 1:
      found = f"{len(self._counts)}, most of them with a value of one network alone"
      expected = "two regions or more in which the same networks have a value"
      raise ArgumentError("regions", found, expected)
    noise = np.sum((y - x @ alone) ** 2) / freedom
    whole = np.linalg.lstsq(self._means[:, :-1], self._means[:, -1], rcond=1e-9)[0]
    left = self._means[:, -1] - self._means[:, :-1] @ whole
    if noise <= _ROUNDING**2 and rank == x.shape[1]:
      return alone, np.zeros(len(alone)), freedom
    # Near the solution; a level without spread stays at 0, the boundary.
    ratio = max(left.var() / max(noise, _ROUNDING**2), 0.1)
    free = 2 if self.levels == "subject / region" else 1
    start = np.sqrt(np.full(free, ratio / free))
    found = scipy.optimize.minimize(
      lambda x: self._criterion(*(start * x)),
      np.ones(free),
      method="Nelder-Mead",
      bounds=[(0, None)] * free,
      options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000},
    )
    product, _ = self._product(*(start * found.x))
    effects, rest = self._solve(product)
    covariance = rest / (self._rows - self._effects) * np.linalg.inv(product[:-1, :-1])
    return effects[1:], np.sqrt(np.diag(covariance))[1:], freedom

  def _criterion(self, units: float, owners: float = 0.0) -> float:
    """-2 times the restricted log likelihood, s maximised, up to a constant."""
    product, logarithm = self._product(units, owners)
    _, rest = self._solve(product)
    freedom = self._rows - self._effects
    fixed = np.linalg.slogdet(product[:-1, :-1])[1]
    return logarithm + fixed + freedom * np.log(max(rest, 1e-300))

  def _solve(self, product):
    """Generalised least squares: the effects, and the sum of squares left."""
    effects = np.linalg.solve(product[:-1, :-1], product[:-1, -1])
    return effects, product[-1, -1] - effects @ product[:-1, -1]

  def _product(self, units: float, owners: float = 0.0):
    """table' V^-1 table and log |V|, V the covariance over s^2.

    Args:
      units: standard deviation of the units' levels over s.
      owners: likewise, of the owners'.
    """
    b, a = units**2, owners**2
    weight = self._counts / (1 + b * self._counts)
    total = np.bincount(self._owner, weight)
    means = _sums(weight[:, None] * self._means, self._owner) / total[:, None]
    apart = self._means - means[self._owner]
    product = self._within.T @ self._within + (weight[:, None] * apart).T @ apart
    product += ((total / (1 + a * total))[:, None] * means).T @ means
    logarithm = np.log1p(b * self._counts).sum() + np.log1p(a * total).sum()
    return product, logarithm


def _sums(rows: np.ndarray, group: np.ndarray) -> np.ndarray:
  """The sum of the rows of each group."""
  sums = np.zeros((group.max() + 1, rows.shape[1]))
  np.add.at(sums, group, rows)
  return sums
