"""The report's sections on the paired differences."""

from collections.abc import Mapping

from kdmri_jax.data.split import counted, plural
from kdmri_jax.metrics import Metric
from kdmri_jax.report import blocks, wording
from kdmri_jax.report.rows import count

_MOST_DRAWN = 13  # four distilled networks against three baselines, and teacher-student


def section(
  analysis: dict, pictures: dict, metrics: Mapping[str, Metric]
) -> blocks.Section:
  """Table and figure of all pairs; without blocks where there are none.

  Args:
    analysis: from `analysis.analyse`.
    pictures: name -> file of the figures that exist.
    metrics: name -> metric.
  """
  pairs = analysis["paired"]
  if not pairs:
    return blocks.Section("Is the difference real?", [])
  parts = [_table(pairs, analysis["bootstrap"], metrics)]
  if "differences" in pictures:
    several = any(pair["n_seeds"] > 1 for pair in pairs)
    mean = ", its mean over seeds" if several else ""
    caption = (
      f"A dot is one {pairs[0]['unit']}{mean}; the diamond is the mean, the bar its "
      "95% interval" + ("; a tick is the mean of one seed." if several else ".")
    )
    if len(drawn_pairs(analysis)) < len(pairs):
      caption += f" Shown are the differences from {drawn_pairs(analysis)[0]['b']}."
    alt = "Paired differences between the models with their intervals."
    parts.append(blocks.Picture(pictures["differences"], alt, caption))
  return blocks.Section("Is the difference real?", parts)


def further_section(analysis: dict, metrics: Mapping[str, Metric]) -> blocks.Section:
  """Sentences and table of the further pairs; without blocks where there are none.

  Args:
    analysis: from `analysis.analyse`.
    metrics: name -> metric.
  """
  pairs = analysis["further"]
  parts = [blocks.Paragraph(pair["sentence"]) for pair in pairs]
  if pairs:
    parts.append(_table(pairs, analysis["bootstrap"], metrics))
  return blocks.Section("Further comparisons", parts)


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


def _table(pairs, bootstrap, metrics):
  several = any(p["n_seeds"] > 1 for p in pairs)
  bounded = any(p["gap_closed"] is not None or p["gap_note"] for p in pairs)
  rows = [
    (
      f"{p['a']} {wording.MINUS} {p['b']}",
      metrics[p["metric"]].title,
      wording.difference(p, metrics[p["metric"]]),
      wording.interval(p, metrics[p["metric"]]),
      wording.p_value(p["wilcoxon_p"]),
      *([_gap(p)] if bounded else []),
      *([f"{p['seeds_better']} of {p['n_seeds']}"] if several else []),
      _paired_over(p),
    )
    for p in pairs
  ]
  header = ("pair", "metric", "difference", "95% interval", "Wilcoxon p")
  header += ("gap closed",) if bounded else ()
  header += ("seeds better",) if several else ()
  return blocks.Table((*header, "paired over"), rows, _note(pairs, bootstrap, several))


def _note(pairs, bootstrap, several):
  drawn, over = _resampled(pairs[0]), ""
  if several:
    drawn = f"seeds and, independently, of {drawn}"
    over = " over the means of seeds (p holds for these trainings)"
  note = f"Percentile bootstrap, {count(bootstrap)} resamples of {drawn}"
  if several:
    note += (
      "; where it is wider, the t interval over the seeds' mean differences takes its "
      f"place (n {wording.MINUS} 1 degrees of freedom)"
    )
  note += (
    f". Two-sided Wilcoxon signed-rank test{over}, not corrected for the number of "
    "comparisons."
  )
  if any(pair["left_out"] for pair in pairs):
    note += " Values that are not finite are omitted."
  reasons = dict.fromkeys(pair["gap_note"] for pair in pairs if pair["gap_note"])
  return " ".join([note, *(f"{text[0].upper()}{text[1:]}." for text in reasons)])


def _resampled(pair):
  if pair["unit"] == pair["group"]:
    return plural(pair["unit"])
  if pair["subjects"] == 1:
    return "slices"
  return f"{plural(pair['group'])} and of slices within them"


def _paired_over(pair):
  text = counted(pair["n"], pair["unit"])
  return f"{text} ({pair['left_out']} left out)" if pair["left_out"] else text


def _gap(pair):
  text = wording.percent(pair["gap_closed"])
  if pair["gap_ci95"]:
    text += " [{}, {}]".format(*map(wording.percent, pair["gap_ci95"]))
  return text + wording.gap_seeds(pair)
