"""Compares networks with a linear mixed-effects model, as Shou et al."""

import types
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kdmri_jax import lookup
from kdmri_jax.errors import ArgumentError
from kdmri_jax.optional import require


class Effect(NamedTuple):
  """The difference of a network from the reference.

  Attributes:
    model: the network.
    difference: of the expected values.
    ci95: 95% interval of the difference.
    p: of no difference (Wald).
  """

  model: str
  difference: float
  ci95: tuple[float, float]
  p: float


def formula_api() -> types.ModuleType:
  """The part of statsmodels that fits formulas, `statsmodels.formula.api`.

  Raises:
    UserError: statsmodels is not installed.
  """
  where = "the linear mixed-effects model"
  return require("statsmodels.formula.api", "stats", where, "a comparison of networks")


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
  levels, so that differences are measured within a region.

  Args:
    values: a value of each network in each region, such as SNR, [N]; values that are
      not finite are omitted.
    models: the network of each value, [N].
    subjects: the subject of each value, [N].
    regions: the region of each value, unique within its subject, [N].
    reference: the network to compare the others with.

  Returns:
    An `Effect` for every other network, in the order of the values.

  Raises:
    UserError: statsmodels is not installed.
    ArgumentError: the arrays differ in length, or there are fewer than two networks
      or two regions.

  Source: Shou et al. (ISMRM), SNR ~ model + (1 | subject / ROI), by restricted maximum
    likelihood.
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
  if len(names) < 2:
    raise ArgumentError("models", f"{reference} alone", "two networks or more")
  if len(set(zip(columns["subjects"], columns["regions"], strict=True))) < 2:
    raise ArgumentError("regions", "fewer than two", "two regions or more")
  api = formula_api()
  import pandas as pd  # a dependency of statsmodels

  others = [name for name in names if name != reference]
  columns["models"] = pd.Categorical(columns["models"], [reference, *others])
  with warnings.catch_warnings():
    # A variance of zero, such as of equal subjects, is on the boundary and valid.
    warnings.simplefilter("ignore")
    fitted = api.mixedlm(
      "value ~ models",
      pd.DataFrame({"value": values, **columns}),
      groups="subjects",
      re_formula="1",
      vc_formula={"regions": "0 + C(regions)"},
    ).fit(reml=True, method=["lbfgs", "powell"])
  intervals = fitted.conf_int()
  return tuple(
    Effect(
      name,
      float(fitted.params[f"models[T.{name}]"]),
      (float(low), float(high)),
      float(fitted.pvalues[f"models[T.{name}]"]),
    )
    for name in others
    for low, high in [intervals.loc[f"models[T.{name}]"]]
  )
