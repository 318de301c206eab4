"""The report's section on the paired differences."""

from kdmri_jax.evaluation import wording
from kdmri_jax.evaluation.report import blocks
from kdmri_jax.evaluation.report.rows import count

_MOST_DRAWN = 13  # four distilled networks against three baselines, and teacher-student


def section(analysis: dict, pictures: dict) -> blocks.Section:
  """Table and figure of all pairs; without blocks where there are none.

  Args:
    analysis: from `analysis.analyse`.
    pictures: name -> file of the figures that exist.
  """
  pairs = analysis["paired"]
  if not pairs:
    return blocks.Section("Is the difference real?", [])
  several = any(p["n_seeds"] > 1 for p in pairs)
  rows = [
    (
      f"{p['a']} {wording.MINUS} {p['b']}",
      wording.LABELS[p["metric"]],
      wording.difference(p),
      wording.interval(p),
      wording.p_value(p["wilcoxon_p"]),
      _gap(p),
      *([f"{p['seeds_better']} of {p['n_seeds']}"] if several else []),
      f"{p['n']} {p['unit']}s" if p["n"] != 1 else f"1 {p['unit']}",
    )
    for p in pairs
  ]
  header = ("pair", "metric", "difference", "95% interval", "Wilcoxon p", "gap closed")
  header += ("seeds better",) if several else ()
  of = " of seeds and subjects, drawn independently" if several else ""
  units = " over the means of seeds" if several else ""
  note = (
    f"Percentile bootstrap, {count(analysis['bootstrap'])} resamples{of}; two-sided "
    f"Wilcoxon signed-rank test{units}, not corrected for the number of comparisons. "
  )
  notes = dict.fromkeys(p["gap_note"] for p in pairs if p["gap_note"])
  note += " ".join(f"{text[0].upper()}{text[1:]}." for text in notes)
  parts = [blocks.Table((*header, "paired over"), rows, note)]
  if "differences" in pictures:
    unit = pairs[0]["unit"]
    mean = ", its mean over seeds" if several else ""
    caption = (
      f"A dot is one {unit}{mean}; the diamond is the mean, the bar its 95% interval"
      + ("; a tick is the mean of one seed." if several else ".")
    )
    if len(drawn_pairs(analysis)) < len(pairs):
      caption += f" Shown are the differences from {drawn_pairs(analysis)[0]['b']}."
    alt = "Paired differences between the models with their intervals."
    parts.append(blocks.Picture(pictures["differences"], alt, caption))
  return blocks.Section("Is the difference real?", parts)


def drawn_pairs(analysis: dict) -> list[dict]:
  """The pairs that the figure of differences shows.

  Args:
    analysis: from `analysis.analyse`.

  Returns:
    All of "paired"; where those are more than `_MOST_DRAWN` for a metric, the ones
    against the control, or without one against the student.
  """
  pairs = analysis["paired"]
  if len({(pair["a"], pair["b"]) for pair in pairs}) <= _MOST_DRAWN:
    return pairs
  baselines = [pair["b"] for pair in pairs]
  fair = analysis["control"] if analysis["control"] in baselines else baselines[0]
  return [pair for pair in pairs if pair["b"] == fair]


def _gap(pair):
  text = wording.percent(pair["gap_closed"])
  if pair["gap_ci95"]:
    text += " [{}, {}]".format(*map(wording.percent, pair["gap_ci95"]))
  return text
