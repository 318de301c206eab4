"""The report's sections, in the order in which a reader asks."""

import json

from kdmri_jax.data.source import SUBJECT
from kdmri_jax.data.split import plural
from kdmri_jax.report import blocks, comparisons, networks, signal, speed, wording
from kdmri_jax.report.figures import colours
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import cells, count
from kdmri_jax.report.tables import plain

_MAIN, _FURTHER = ("psnr", "ssim"), ("nmse", "hfn", "hfen")
_ARROWS = {"psnr": ", dB ↑", "ssim": " ↑"}
_MANY = 12


def sections(inputs: ReportInput, analysis: dict, pictures: dict) -> list:
  """The whole document.

  Args:
    inputs: what the report is made of.
    analysis: from `analysis.analyse`.
    pictures: name -> file, relative to the document, of the figures that exist.

  Returns:
    A list of `blocks.Section`.
  """
  found = [
    _what_came_out(inputs, analysis, pictures),
    comparisons.section(analysis, pictures),
    comparisons.further_section(analysis),
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
  tables = [_results(inputs, analysis), _further(analysis)]
  parts = [answer, blocks.Cautions(analysis["cautions"]), *tables]
  if "comparison" in pictures:
    range_text = "volume's" if inputs.comparison_range else "slice's"
    caption = (
      f"One evaluated slice{inputs.of_seed}. Numbers: PSNR and SSIM of this slice, "
      f"with the target {range_text} maximum as range. The yellow box is enlarged "
      f"below; the last row shows |image {wording.MINUS} target| on one scale, on "
      "which the input's may saturate."
    )
    alt = "Input, target and reconstructions, an enlarged region, and residues."
    parts.append(blocks.Picture(pictures["comparison"], alt, caption))
  return blocks.Section("What came out", parts)


def _numbers(inputs, analysis):
  pairs = {(p["a"], p["b"], p["metric"]): p for p in analysis["paired"]}
  leading = analysis["leading"]
  gain = pairs.get((leading, analysis["baseline"], "psnr"))
  numbers = []
  if gain:
    label = (
      f"PSNR of {gain['a']} {wording.MINUS} {gain['b']} over {_over(gain)}, "
      f"95% interval {wording.interval(gain)}"
    )
    numbers.append((f"{wording.difference(gain)} dB", label))
  if gain and gain["verdict"] == "better" and gain["gap_ci95"]:
    low, high = map(wording.percent, gain["gap_ci95"])
    label = (
      f"of the PSNR gap from {gain['b']} to {inputs.teacher} closed"
      f"{wording.gap_seeds(gain)}, 95% interval [{low}, {high}]"
    )
    numbers.append((wording.percent(gain["gap_closed"]), label))
  large, small = map(inputs.parameters.get, (inputs.teacher, leading))
  if large and small:
    label = f"of the parameters of {inputs.teacher} ({count(small)} of {count(large)})"
    numbers.append((wording.percent(small / large), label))
  return numbers


def _over(pair):
  """What was paired: "12 subjects", with several seeds "12 subjects, 5 seeds"."""
  seeds = pair["n_seeds"]
  return wording.units(pair) + (f", {wording.seeds(seeds)}" if seeds > 1 else "")


def _results(inputs, analysis):
  header, rows = cells(analysis["rows"], _titles(_MAIN))
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
  if inputs.published:
    note += (
      f" Published: {inputs.published_source}, under the same protocol; of its own "
      "images, mask and training."
    )
  if best:
    note += (
      f" Highlighted: {best}, of the networks smaller than {inputs.teacher} the one "
      "with the highest PSNR."
    )
  return blocks.Table(
    header,
    rows,
    note,
    models.index(best) if best else None,
    colours(analysis["networks"]),
  )


def _further(analysis):
  rows = [
    (row["model"], *(wording.mean_sd(row[name], name) for name in _FURTHER))
    for row in analysis["rows"]
  ]
  names = (*_MAIN, *_FURTHER)
  left_out = sum(row[name]["left_out"] for row in analysis["rows"] for name in names)
  note = f"{left_out} values are undefined or infinite and were left out of means."
  return blocks.Table(
    ("model", *_titles(_FURTHER).values()),
    rows,
    note if left_out else "",
    colours=colours(analysis["networks"]),
  )


def _titles(metrics):
  return {name: wording.LABELS[name] + _ARROWS.get(name, " ↓") for name in metrics}


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
      f"Protocol {inputs.protocol}: {analysis['protocol_definition']} NMSE is the "
      "squared error over the squared target; HFN the same for 5-point Laplacians of "
      "slices, the prediction clipped to [0, 1] (for targets with a larger maximum, to "
      "[0, that maximum]); HFEN compares Laplacians of Gaussian "
      "(15x15, sigma 1.5). The tables beside this report hold all three protocols."
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


def _files(inputs):
  links = [
    ("summary.csv", "the table of results, a line for each network and metric"),
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
  """Names and values of a nested dict, one a leaf."""
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
