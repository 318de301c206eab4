"""The report's blocks on the paired differences."""

from collections.abc import Mapping

from kdmri_jax.data.split import counted, plural
from kdmri_jax.metrics import Metric
from kdmri_jax.report import blocks, wording

_MOST_DRAWN = 13  # four distilled networks against three baselines, and teacher-student


def main(analysis: dict, metrics: Mapping[str, Metric]) -> list:
  """Tables and figure of all pairs; nothing where there are none.

  Args:
    analysis: from `analysis.analyse`.
    metrics: name -> metric.
  """
  pairs, drawn = analysis["paired"], drawn_pairs(analysis)
  if not pairs:
    return []
  several = _several_seeds(pairs)
  mean = ", its mean over seeds" if several else ""
  caption = (
    f"A dot is one {pairs[0]['unit']}{mean}; the diamond is the mean, the bar its "
    "95% interval" + ("; a tick is the mean of one seed." if several else ".")
  )
  if len(drawn) < len(pairs):
    caption += f" Shown are the differences from {drawn[0]['b']}."
  alt = "Paired differences between the models with their intervals."
  table = _table(pairs, metrics)
  picture = blocks.Picture("differences", alt, caption)
  return [table, picture, *_equivalence(pairs, metrics)]


def further(analysis: dict, metrics: Mapping[str, Metric]) -> list:
  """Sentences and table of the further pairs; nothing where there are none.

  Args:
    analysis: from `analysis.analyse`.
    metrics: name -> metric.
  """
  pairs = analysis["further"]
  if not pairs:
    return []
  sentences = [blocks.Paragraph(pair["sentence"]) for pair in pairs]
  return [*sentences, _table(pairs, metrics)]


def drawn_pairs(analysis: dict) -> list[dict]:
  """The pairs that the figure of differences shows.

  Args:
    analysis: from `analysis.analyse`.

  Returns:
    All of "paired"; where those are more than `_MOST_DRAWN` for a metric, the ones
    against the first baseline: the control, or without one the student.
  """
  pairs = analysis["paired"]
  if len({(pair["a"], pair["b"]) for pair in pairs}) <= _MOST_DRAWN:
    return pairs
  return [pair for pair in pairs if pair["b"] == pairs[0]["b"]]


def _several_seeds(pairs):
  return any(pair["n_seeds"] > 1 for pair in pairs)


def _table(pairs, metrics):
  bounded = any(wording.gap_is_known(p) or wording.gap_note(p) for p in pairs)
  columns = {
    "pair": [f"{p['a']} {wording.MINUS} {p['b']}" for p in pairs],
    "metric": [metrics[p["metric"]].title for p in pairs],
    "difference": [wording.difference(p, metrics[p["metric"]]) for p in pairs],
    "95% interval": [wording.interval(p, metrics[p["metric"]]) for p in pairs],
    "Wilcoxon p": [wording.p_value(p["wilcoxon_p"]) for p in pairs],
  }
  if bounded:
    columns["gap closed"] = [wording.gap(p) for p in pairs]
  if _several_seeds(pairs):
    columns["seeds better"] = [f"{p['seeds_better']} of {p['n_seeds']}" for p in pairs]
  columns["paired over"] = [_paired_over(p) for p in pairs]
  rows = list(zip(*columns.values(), strict=True))
  text = note(pairs) + _gap_notes(pairs)
  return blocks.Table(tuple(columns), rows, text)


def _equivalence(pairs, metrics):
  """The table of the tests of equivalence, if there are any."""
  pairs = [pair for pair in pairs if pair["equivalence"]]
  if not pairs:
    return []
  metric, tested = metrics[pairs[0]["metric"]], [p["equivalence"] for p in pairs]
  columns = {
    "pair": [f"{p['a']} {wording.MINUS} {p['b']}" for p in pairs],
    "90% interval": [wording.interval90(p, metric) for p in pairs],
    "TOST p": [wording.p_value(each["p"]) for each in tested],
    "equivalent": ["yes" if each["shown"] else "not shown" for each in tested],
    "tested over": [wording.tested_units(p) for p in pairs],
  }
  several = ""
  if _several_seeds(pairs):
    several = (
      " The intervals are the widest of three, of the spread over the evaluated "
      f"{plural(pairs[0]['group'])}, over seeds, and over both."
    )
  note = (
    f"Equivalence with the teacher within ±{tested[0]['margin']:g} {metric.unit} "
    f"{metric.title} (evaluation.margin), by two one-sided t tests at 0.05: it is "
    f"shown where the 90% interval lies within the margin.{several} Not shown does not "
    "mean that there is a difference."
  )
  return [blocks.Table(tuple(columns), list(zip(*columns.values(), strict=True)), note)]


def note(pairs: list[dict]) -> str:
  """How the intervals and p-values of pairs were made, in sentences."""
  units, over = plural(pairs[0]["group"] if pairs[0]["subjects"] > 1 else "slice"), ""
  how = f"t intervals over {units}"
  if _several_seeds(pairs):
    how = f"the widest of the t intervals over {units}, over seeds and over both"
    over = " over the means of seeds (p holds for these trainings)"
  text = (
    f"The intervals are {how}. Two-sided Wilcoxon signed-rank test{over}. Neither is "
    "corrected for the number of comparisons."
  )
  if any(pair["left_out"] for pair in pairs):
    text += " Values that are not finite are omitted."
  return text


def _gap_notes(pairs):
  reasons = filter(None, dict.fromkeys(map(wording.gap_note, pairs)))
  return "".join(f" {reason[0].upper()}{reason[1:]}." for reason in reasons)


def _paired_over(pair):
  text = counted(pair["n"], pair["unit"])
  return f"{text} ({pair['left_out']} left out)" if pair["left_out"] else text
