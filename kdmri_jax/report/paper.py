"""The table of results for a paper, with as many digits as its metrics have."""

from collections.abc import Sequence

from kdmri_jax.report import wording
from kdmri_jax.report.rows import Metrics, count, further, main

_LATEX = {
  **{character: f"\\{character}" for character in "&%$#_{}"},
  "\\": r"\textbackslash{}",
  "~": r"\textasciitilde{}",
  "^": r"\textasciicircum{}",
  "±": r"$\pm$",
  "∞": r"$\infty$",
  wording.MINUS: "$-$",
  wording.ABSENT: "--",
}


def records(rows: Sequence[dict], metrics: Metrics) -> list[dict]:
  """The table for a CSV file, one record per network.

  Args:
    rows: from `rows.summary_rows`.
    metrics: all metrics by name; those that are only stored are left out.
  """
  found = []
  for row in rows:
    record = {"model": row["model"], "parameters": count(row["parameters"])}
    for name, metric in (main(metrics) | further(metrics)).items():
      record[f"{metric.label} mean"] = wording.number(row[name]["mean"], metric)
      record[f"{metric.label} sd"] = wording.number(row[name]["sd"], metric)
    found.append({key: _plain(text) for key, text in record.items()})
  return found


def latex(rows: Sequence[dict], metrics: Metrics, best: str | None) -> str:
  """The table in LaTeX, with the rules of the package booktabs.

  Args:
    rows: from `rows.summary_rows`.
    metrics: as in `records`.
    best: the network in bold type, or None.
  """
  shown = main(metrics) | further(metrics)
  header = ["model", "parameters", *(metric.label for metric in shown.values())]
  lines = []
  for row in rows:
    cells = [row["model"], count(row["parameters"])]
    cells += [wording.mean_sd(row[name], metric) for name, metric in shown.items()]
    cells = [_escaped(cell) for cell in cells]
    if row["model"] == best:
      cells = [rf"\textbf{{{cell}}}" for cell in cells]
    lines.append(" & ".join(cells) + r" \\")
  return "\n".join(
    [
      r"% Mean $\pm$ standard deviation over volumes; needs \usepackage{booktabs}",
      rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
      r"\toprule",
      " & ".join(map(_escaped, header)) + r" \\",
      r"\midrule",
      *lines,
      r"\bottomrule",
      r"\end{tabular}",
      "",
    ]
  )


def _escaped(text: str) -> str:
  return "".join(_LATEX.get(character, character) for character in text)


def _plain(text: str) -> str:
  """A number as programs read it; empty where there is none."""
  if text == wording.ABSENT:
    return ""
  return text.replace(wording.MINUS, "-").replace(",", "").replace("∞", "inf")
