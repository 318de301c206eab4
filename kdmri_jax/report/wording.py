"""Plain sentences and numbers for tables, figures and the report."""

import math

from kdmri_jax.data.split import counted
from kdmri_jax.metrics import Metric
from kdmri_jax.statistics.sample import ENOUGH

MINUS = "\u2212"
ABSENT = "\u2013"
_MOST_DECIMALS = 8


def sentence(pair: dict, metric: Metric) -> str:
  """Describes a result of `report.paired` in a sentence, without overstating it.

  The interval decides: a difference is claimed only where it excludes zero and there
  are at least `sample.ENOUGH` units. The numbers of a claim are positive; without a
  claim, positive favours a.

  Args:
    pair: result of `report.paired`.
    metric: its metric.

  Returns:
    A sentence with the unit and the number of units; a claim also has its p-value. With
    several seeds it gives the number of seeds that agree, the method of the interval,
    and that p holds for these trainings, because the Wilcoxon test does not account for
    seeds.
  """
  a, b, sign = pair["a"], pair["b"], 1 if metric.higher_is_better else -1
  mean = sign * pair["mean_difference"]
  over = units(pair)
  no_claim = (
    f"No difference between {a} and {b} can be claimed: {_average(pair, mean, metric)}"
    f"{_agreement(pair)}"
  )
  if pair["verdict"] == "too_few":
    return (
      f"{no_claim}, but {over} {'is' if pair['n'] == 1 else 'are'} too few to judge by "
      f"(at least {ENOUGH} are needed)."
    )
  if pair["verdict"] == "undecided":
    low, high = sorted(sign * end for end in pair["ci95"])
    shown = _bracket((low, high), _decimals((mean, low, high), metric))
    return f"{no_claim}, but the 95% interval {shown} includes zero ({over})."
  return _claim(pair, metric)


def unconfirmed(pair: dict) -> bool:
  """Whether the Wilcoxon test does not confirm the claim of the interval."""
  return pair["wilcoxon_p"] >= 0.05


def equivalence(pair: dict, metric: Metric) -> str:
  """Says in a sentence whether two networks are equivalent; "" without a test.

  Args:
    pair: result of `report.paired`.
    metric: its metric.
  """
  tested = pair["equivalence"]
  if tested is None:
    return ""
  margin = f"within ±{tested['margin']:g} {_unit(metric)}"
  if tested["ci90"] is None:
    return f"Equivalence {margin} cannot be tested on {tested_units(pair)}."
  said, lies = ("is", "lies within it")
  if not tested["shown"]:
    said, lies = ("is not shown to be", "does not lie within it")
  where = f"On these {units(pair)} " if pair["subjects"] == 1 else ""
  return (
    f"{where}{pair['a']} {said} equivalent to {pair['b']} {margin}: the 90% interval "
    f"of the difference, {interval90(pair, metric)}, {lies} ({tested_units(pair)}; "
    f"TOST p {in_text(tested['p'])})."
  )


def tested_units(pair: dict) -> str:
  """What a test of equivalence is over: "12 subjects, 3 seeds"."""
  over = groups(pair) if pair["subjects"] > 1 else units(pair)
  return over + (f", {seeds(pair['n_seeds'])}" if pair["n_seeds"] > 1 else "")


def interval90(pair: dict, metric: Metric) -> str:
  """The interval of the test of equivalence in brackets; a dash for None.

  It has so many decimals that no end beside the margin is shown as the margin.
  """
  tested = pair["equivalence"]
  if tested["ci90"] is None:
    return ABSENT
  decimals = _decimals(tested["ci90"], metric)
  while decimals < _MOST_DECIMALS and any(
    round(abs(end), decimals) == tested["margin"] for end in tested["ci90"]
  ):
    decimals += 1
  return _bracket(tested["ci90"], decimals)


def units(pair: dict) -> str:
  """The paired units: "12 subjects", or "44 slices of one subject"."""
  count = counted(pair["n"], pair["unit"])
  return count if pair["unit"] == pair["group"] else f"{count} of {groups(pair)}"


def groups(pair: dict) -> str:
  """The subjects of the units: "one subject", "3 slabs of one head"."""
  one = pair["subjects"] == 1
  return f"one {pair['group']}" if one else counted(pair["subjects"], pair["group"])


def seeds(count: int) -> str:
  """A number of seeds in words."""
  return "one seed" if count == 1 else f"{count} seeds"


def gap_seeds(pair: dict) -> str:
  """The seeds of the gap, where the teacher has fewer; else an empty text."""
  if pair["gap_seeds"] in (None, pair["n_seeds"]):
    return ""
  return f", over {seeds(pair['gap_seeds'])} that the teacher also has"


def gap_is_known(pair: dict) -> bool:
  """Whether the share of the gap has an interval, and one no wider than the gap."""
  ends = pair["gap_ci95"]
  return ends is not None and ends[1] - ends[0] <= 1


def gap(pair: dict) -> str:
  """The share of the gap with its interval; a dash where it is too uncertain."""
  if not gap_is_known(pair):
    return ABSENT
  share, low, high = map(percent, (pair["gap_closed"], *pair["gap_ci95"]))
  return f"{share} [{low}, {high}]{gap_seeds(pair)}"


def gap_note(pair: dict) -> str:
  """Why the share of the gap is not given; "" where it is, or where there is no gap."""
  if pair["gap_ci95"] is None or gap_is_known(pair):
    return pair["gap_note"] or ""
  return (
    f"the share of the gap to the teacher that {pair['a']} closes is too uncertain: "
    "its interval is wider than the gap"
  )


def number(value: float | None, metric: Metric) -> str:
  """A metric's value with its usual number of decimals; a dash for None."""
  if value is None or math.isnan(value):
    return ABSENT
  return "∞" if math.isinf(value) else _fixed(value, metric.decimals)


def mean_sd(moments: dict, metric: Metric) -> str:
  """A mean ± sd; the mean alone where sd is undefined, a dash where nothing is."""
  text = number(moments["mean"], metric)
  if moments["sd"] is not None:
    text += " ± " + number(moments["sd"], metric)
  return text


def spread(moments: dict, decimals: int, scale: float = 1.0) -> str:
  """Likewise, with these decimals, of values that are multiplied by `scale`."""
  found = [moments["mean"], moments["sd"]]
  texts = [f"{scale * value:.{decimals}f}" for value in found if value is not None]
  return " ± ".join(texts) or ABSENT


def interval(pair: dict, metric: Metric) -> str:
  """The 95% interval of a - b in brackets; a dash where there is none."""
  if pair["ci95"] is None:
    return ABSENT
  decimals = _decimals((pair["mean_difference"], *pair["ci95"]), metric)
  return _bracket(pair["ci95"], decimals)


def difference(pair: dict, metric: Metric) -> str:
  """The mean difference a - b with its sign."""
  value = pair["mean_difference"]
  ends = pair["ci95"] or ()
  text = _fixed(value, _decimals((value, *ends), metric))
  return "+" + text if value > 0 else text


def exponent(value: float) -> str:
  """One digit and its power of ten, such as "9e-7"; "0" for 0."""
  digits, _, power = f"{value:.0e}".partition("e")
  return f"{digits}e{int(power)}" if value else "0"


def share(value: float) -> str:
  """A share of the gradient: per cent, a power of ten if small, a dash for NaN."""
  if math.isnan(value):
    return ABSENT
  return f"{100 * value:.1f}%" if value >= 1e-3 else exponent(value)


def cosine(value: float) -> str:
  """A cosine with its sign; a dash for NaN."""
  return ABSENT if math.isnan(value) else _fixed(value, 2)


def p_value(p: float | None) -> str:
  """A p-value for a table; a dash for None."""
  if p is None:
    return ABSENT
  return "< 0.001" if p < 0.001 else f"{p:.3f}"


def in_text(p: float) -> str:
  """A p-value after the letter p: "= 0.012" or "< 0.001"."""
  return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def percent(share: float | None) -> str:
  """A share as per cent; a dash for None."""
  return ABSENT if share is None else f"{_fixed(100 * share, 0)}%"


def duration(seconds: float | None) -> str:
  """Seconds as "42 s", "3 min 05 s" or "2 h 07 min"; a dash for None."""
  if seconds is None:
    return ABSENT
  whole = round(seconds)
  if whole < 60:
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
  if whole < 3600:
    return f"{whole // 60} min {whole % 60:02d} s"
  return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _claim(pair, metric):
  """A sentence for an interval that excludes zero, its numbers made positive."""
  verb = "beats" if pair["verdict"] == "better" else "falls behind"
  size, *ends = map(abs, (pair["mean_difference"], *pair["ci95"]))
  decimals = _decimals((size, *ends), metric)
  comma = "," if pair["n_seeds"] > 1 else ""
  where, over = ("", f"{comma} over {units(pair)}")
  if pair["unit"] != pair["group"]:
    where, over = (f"On these {units(pair)} ", "")
  text = (
    f"{where}{pair['a']} {verb} {pair['b']} by {_fixed(size, decimals)} "
    f"{_unit(metric)} {_bracket(sorted(ends), decimals)}{_agreement(pair)}"
    f"{over} ({_p(pair)})"
  )
  if unconfirmed(pair):
    text += ", though the Wilcoxon test does not confirm it at 0.05"
  return text + _gap(pair)


def _unit(metric):
  return f"{metric.unit} {metric.title}".strip()


def _average(pair, mean, metric):
  if round(mean, _MOST_DECIMALS) == 0:
    return f"{pair['a']} and {pair['b']} agree on average"
  size = _fixed(abs(mean), _decimals((mean,), metric))
  side = "better" if mean > 0 else "worse"
  return f"{pair['a']} is {size} {_unit(metric)} {side} on average"


def _agreement(pair):
  """How many seeds have the sign of the mean; empty for one seed and for no sign."""
  mean = pair["mean_difference"]
  if pair["n_seeds"] == 1 or round(mean, _MOST_DECIMALS) == 0:
    return ""
  same = sum(difference * mean > 0 for difference in pair["seed_differences"])
  return f", {same} of {pair['n_seeds']} seeds"


def _gap(pair):
  share = pair["gap_closed"]
  if share is None:
    note = pair["gap_note"]
    return f"; {note}." if note else "."
  if not gap_is_known(pair):
    return "; the gap to the teacher is too uncertain to give a share of it."
  if share <= 0:
    return f"; it closes none of the gap to the teacher{gap_seeds(pair)}."
  if share >= 1:
    whole = f"{percent(share)}{gap_seeds(pair)}"
    return f"; it closes the whole gap to the teacher ({whole})."
  return f"; it closes {percent(share)} of the gap to the teacher{gap_seeds(pair)}."


def _p(pair):
  text = f"Wilcoxon p {in_text(pair['wilcoxon_p'])}"
  return text if pair["n_seeds"] == 1 else f"{text} for these trainings"


def _decimals(values, metric):
  """Decimals with which no value that is not zero is shown as zero, if so many do."""
  decimals = metric.decimals
  while decimals < _MOST_DECIMALS and any(
    v and round(abs(v), decimals) == 0 for v in values
  ):
    decimals += 1
  return decimals


def _bracket(ends, decimals):
  return f"[{_fixed(ends[0], decimals)}, {_fixed(ends[1], decimals)}]"


def _fixed(value, decimals):
  return f"{value:z.{decimals}f}".replace("-", MINUS)
