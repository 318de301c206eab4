"""The head of the report: the result in sentences, and its key numbers."""

from kdmri_jax.metrics import Metric
from kdmri_jax.report import blocks, wording
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import count


def blocks_of(inputs: ReportInput, analysis: dict) -> list:
  """Sentences and key numbers; a number claims no more than its sentence."""
  teacher, leading = inputs.roles.teacher, analysis["leading"]
  first, metric = next(iter(inputs.tables.metrics.items()))
  pairs = {(p["a"], p["b"], p["metric"]): p for p in analysis["paired"]}
  numbers = []
  if pair := pairs.get((leading, analysis["baseline"], first)):
    numbers += _difference(pair, metric, teacher)
  large, small = map(inputs.parameters.get, (teacher, leading))
  if large and small:
    label = f"of the parameters of {teacher} ({count(small)} of {count(large)})"
    numbers.append((wording.percent(small / large), label))
  return [blocks.Answer(analysis["answer"], numbers)]


def _difference(pair: dict, metric: Metric, teacher: str) -> list[tuple[str, str]]:
  """The difference and the share of the gap, as far as they can be claimed."""
  title = f"{metric.title} of {pair['a']} {wording.MINUS} {pair['b']}"
  found = f"95% interval {wording.interval(pair, metric)} {metric.unit}".rstrip()
  over = _over(pair)
  if pair["verdict"] == "too_few":
    return [("too few", f"to judge the {title} by: {over}")]
  if pair["verdict"] == "undecided":
    label = f"in {title} over {over}: the {found} includes zero"
    return [("no difference shown", label)]
  label = f"{title} over {over}, {found}"
  if wording.unconfirmed(pair):
    label += "; the Wilcoxon test does not confirm it"
  size = f"{wording.difference(pair, metric)} {metric.unit}".strip()
  numbers = [(size, label)]
  if pair["verdict"] == "better" and wording.gap_is_known(pair):
    low, high = map(wording.percent, pair["gap_ci95"])
    label = (
      f"of the {metric.title} gap from {pair['b']} to {teacher} closed"
      f"{wording.gap_seeds(pair)}, 95% interval [{low}, {high}]"
    )
    numbers.append((wording.percent(pair["gap_closed"]), label))
  return numbers


def _over(pair):
  """The paired units: "12 subjects", with several seeds "12 subjects, 5 seeds"."""
  seeds = pair["n_seeds"]
  return wording.units(pair) + (f", {wording.seeds(seeds)}" if seeds > 1 else "")
