"""Compares networks by a linear mixed-effects model, as Shou et al. did."""

import dataclasses
import warnings
from collections.abc import Sequence

from kdmri_jax.errors import UserError
from kdmri_jax.optional import require


@dataclasses.dataclass(frozen=True)
class Effect:
  """How much a network differs from the reference.

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


def formula_api():
  """The part of statsmodels that fits formulas, `statsmodels.formula.api`.

  Raises:
    UserError: statsmodels is not installed.
  """
  where = "the linear mixed-effects model"
  return require("statsmodels.formula.api", "stats", where, "a comparison of SNR")


def fit(
  records: Sequence[dict], reference: str, value: str = "snr"
) -> tuple[Effect, ...]:
  """Fits value ~ model + (1 | subject / roi).

  The networks are fixed effects; subjects, and regions within subjects, have random
  levels of their own, so that differences are those within a region.

  Args:
    records: dicts with "model", "subject", "roi" (unique within its subject) and the
      value, one for each network and region.
    reference: the network that the others are compared with.
    value: key of the value.

  Returns:
    An `Effect` for every other network, in the order of the records.

  Raises:
    UserError: statsmodels is not installed, or there are fewer than two networks, or
      two regions.

  Source: Shou et al. (ISMRM), SNR ~ model + (1 | subject / ROI), by restricted maximum
    likelihood.
  """
  models = list(dict.fromkeys(record["model"] for record in records))
  regions = {(record["subject"], record["roi"]) for record in records}
  if reference not in models or len(models) < 2 or len(regions) < 2:
    raise UserError(
      "the linear mixed-effects model",
      f"{len(regions)} regions and the networks {', '.join(models) or '(none)'}",
      f"two regions or more, {reference} and another network",
      "Add regions, or leave this comparison out.",
    )
  api = formula_api()
  import pandas as pd  # statsmodels brings it

  frame = pd.DataFrame(list(records))
  frame["network"] = pd.Categorical(
    frame["model"], [reference, *(m for m in models if m != reference)]
  )
  with warnings.catch_warnings():
    # A variance of zero, such as of equal subjects, lies on the boundary: it is fine.
    warnings.simplefilter("ignore")
    fitted = api.mixedlm(
      f"{value} ~ network",
      frame,
      groups="subject",
      re_formula="1",
      vc_formula={"roi": "0 + C(roi)"},
    ).fit(reml=True, method=["lbfgs", "powell"])
  intervals = fitted.conf_int()
  return tuple(
    Effect(
      model,
      float(fitted.params[f"network[T.{model}]"]),
      tuple(float(x) for x in intervals.loc[f"network[T.{model}]"]),
      float(fitted.pvalues[f"network[T.{model}]"]),
    )
    for model in models
    if model != reference
  )
