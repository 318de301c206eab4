"""The report's sections, from the results to the details."""

import json

from kdmri_jax.data.source import SUBJECT
from kdmri_jax.data.split import plural
from kdmri_jax.report import blocks, comparisons, networks, signal, speed, wording
from kdmri_jax.report.figures import colours
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import cells, count, further, main
from kdmri_jax.report.tables import plain

_MANY = 12


def sections(inputs: ReportInput, analysis: dict, pictures: dict) -> list:
  """The whole document.

  Args:
    inputs: the inputs of the report.
    analysis: from `analysis.analyse`.
    pictures: name -> file, relative to the document, of the figures that exist.

  Returns:
    A list of `blocks.Section`.
  """
  found = [
    _what_came_out(inputs, analysis, pictures),
    comparisons.section(analysis, pictures, inputs.tables.metrics),
    comparisons.further_section(analysis, inputs.tables.metrics),
    signal.section(analysis, pictures),
    speed.section(analysis),
    _how_measured(inputs, analysis, pictures),
    networks.training(inputs, analysis, pictures),
    networks.audit(analysis, pictures),
    networks.attention(inputs, pictures),
    _files(inputs),
  ]
  return [section for section in found if section.blocks]


def _what_came_out(inputs, analysis, pictures):
  answer = blocks.Answer(analysis["answer"], _numbers(inputs, analysis))
  tables = [_results(inputs, analysis), _further(inputs, analysis)]
  parts = [answer, blocks.Cautions(analysis["cautions"]), *tables]
  if "comparison" in pictures:
    shown = " and ".join(m.title for m in main(inputs.tables.metrics).values())
    range_text = "volume's" if inputs.comparison_range else "slice's"
    caption = (
      f"One evaluated slice{inputs.of_seed}. Numbers: {shown} of this slice, "
      f"with the target {range_text} maximum as range. The yellow box is enlarged "
      f"below; the last row shows |image {wording.MINUS} target| on one scale, on "
      "which the input's may saturate."
    )
    alt = "Input, target and reconstructions, an enlarged region, and residues."
    parts.append(blocks.Picture(pictures["comparison"], alt, caption))
  return blocks.Section("Results", parts)


def _numbers(inputs, analysis):
  pairs = {(p["a"], p["b"], p["metric"]): p for p in analysis["paired"]}
  leading = analysis["leading"]
  first, metric = next(iter(inputs.tables.metrics.items()))
  gain = pairs.get((leading, analysis["baseline"], first))
  numbers = []
  if gain:
    label = (
      f"{metric.title} of {gain['a']} {wording.MINUS} {gain['b']} over {_over(gain)}, "
      f"95% interval {wording.interval(gain, metric)}"
    )
    size = f"{wording.difference(gain, metric)} {metric.unit}".strip()
    numbers.append((size, label))
  if gain and gain["verdict"] == "better" and gain["gap_ci95"]:
    low, high = map(wording.percent, gain["gap_ci95"])
    label = (
      f"of the {metric.title} gap from {gain['b']} to {inputs.teacher} closed"
      f"{wording.gap_seeds(gain)}, 95% interval [{low}, {high}]"
    )
    numbers.append((wording.percent(gain["gap_closed"]), label))
  large, small = map(inputs.parameters.get, (inputs.teacher, leading))
  if large and small:
    label = f"of the parameters of {inputs.teacher} ({count(small)} of {count(large)})"
    numbers.append((wording.percent(small / large), label))
  return numbers


def _over(pair):
  """The paired units: "12 subjects", with several seeds "12 subjects, 5 seeds"."""
  seeds = pair["n_seeds"]
  return wording.units(pair) + (f", {wording.seeds(seeds)}" if seeds > 1 else "")


def _results(inputs, analysis):
  metrics = inputs.tables.metrics
  header, rows = cells(analysis["rows"], _titles(main(metrics)), metrics)
  models = [row["model"] for row in analysis["rows"]]
  best = analysis["best"]
  note = (
    f"Protocol {analysis['protocol']}. Mean ± sample standard deviation over volumes"
  )
  if len(inputs.seeds) > 1:
    note += (
      " of their means over seeds; sd over seeds is that of the seeds' means over "
      "volumes"
    )
  note += "; arrows point to better."
  if inputs.budgets:
    each = ", mean over seeds" if len(inputs.seeds) > 1 else ""
    note += (
      f" Steps and minutes of training{each}: of the stage and of those it starts "
      "from, not of its teacher."
    )
  for name, origin in inputs.given.items():
    note += f" {name} was not trained in this run; given: {origin}."
  if inputs.published:
    note += (
      f" Published: {inputs.published_source}, under the same protocol; of its own "
      "images, mask and training."
    )
  if best:
    first = next(iter(metrics.values()))
    note += (
      f" Highlighted: {best}, of the networks smaller than {inputs.teacher} the one "
      f"with the {'highest' if first.higher_is_better else 'lowest'} {first.title}."
    )
  return blocks.Table(
    header,
    rows,
    note,
    models.index(best) if best else None,
    colours(analysis["networks"]),
  )


def _further(inputs, analysis):
  metrics = further(inputs.tables.metrics)
  rows = [
    (row["model"], *(wording.mean_sd(row[name], m) for name, m in metrics.items()))
    for row in analysis["rows"]
  ]
  names = (*main(inputs.tables.metrics), *metrics)
  left_out = sum(row[name]["left_out"] for row in analysis["rows"] for name in names)
  note = f"{left_out} values are undefined or infinite and were omitted from means."
  return blocks.Table(
    ("model", *_titles(metrics).values()),
    rows,
    note if left_out else "",
    colours=colours(analysis["networks"]),
  )


def _titles(metrics):
  return {
    name: f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"
    for name, metric in metrics.items()
  }


def _how_measured(inputs, analysis, pictures):
  many = plural(inputs.unit)
  dataset = {
    key.replace("subjects", many): value
    for key, value in inputs.dataset.items()
    if key not in ("notes", "volumes")
  }
  never = "slice" if inputs.unit == SUBJECT else "subject"
  parts = [
    blocks.Paragraph(
      f"Protocol {inputs.protocol}: {analysis['protocol_definition']} "
      f"{_definitions(inputs)}The tables beside this report hold all three protocols."
    ),
    blocks.Paragraph(
      f"The data are split by {inputs.unit}, not by {never}; evaluated are the {many} "
      f"of the {inputs.evaluated_on} split."
    ),
    blocks.Facts(_facts(dataset)),
  ]
  if "mask" in pictures:
    caption = "The sampling mask, zero frequency at the centre; white is measured."
    picture = blocks.Picture(pictures["mask"], "Sampling mask.", caption, narrow=True)
    parts.append(picture)
  parts.append(blocks.Facts(_facts(inputs.mask, "mask")))
  return blocks.Section("How it was measured", parts)


def _definitions(inputs):
  found = [
    f"{metric.title} is {metric.definition}"
    for metric in inputs.tables.metrics.values()
    if metric.definition
  ]
  return f"{'; '.join(found)}. " if found else ""


def _files(inputs):
  links = [
    ("summary.csv", "the table of results, one line per network and metric"),
    ("volumes.csv", "metrics of every volume, all protocols (also volumes.json)"),
    ("slices.csv", "metrics of every slice, all protocols (also slices.json)"),
    ("report.json", "everything in this report for programs"),
    ("report.md", "this report as Markdown"),
  ]
  config = json.dumps(plain(inputs.config), indent=2)
  parts = [
    blocks.Links(links),
    blocks.Facts(_facts(inputs.environment)),
    blocks.Folded("Configuration", config),
  ]
  return blocks.Section("Files, environment, configuration", parts)


def _facts(value, name=""):
  """Names and values of a nested dict, one per leaf."""
  if isinstance(value, dict) and value:
    return [
      fact
      for key, item in value.items()
      for fact in _facts(item, f"{name} {key}".strip().replace("_", " "))
    ]
  if isinstance(value, (list, tuple)):
    text = ", ".join(map(str, value[:_MANY])) or "none"
    more = len(value) - _MANY
    return [(name, text + (f" and {more} more (see report.json)" if more > 0 else ""))]
  if isinstance(value, bool):
    return [(name, "yes" if value else "no")]
  if isinstance(value, float):
    return [(name, f"{value:.4g}")]
  return [(name, wording.ABSENT if value in (None, "", {}) else str(value))]
