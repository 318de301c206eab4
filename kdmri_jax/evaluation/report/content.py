"""The report's sections, in the order in which a reader asks."""

import json

from kdmri_jax.evaluation import wording
from kdmri_jax.evaluation.figures import colours
from kdmri_jax.evaluation.report import blocks
from kdmri_jax.evaluation.report.analysis import ReportInput, count
from kdmri_jax.evaluation.tables import plain

_COLUMNS = ("psnr", "ssim", "nmse", "hfn", "hfen")
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
    _is_it_real(analysis, pictures),
    _how_measured(inputs, analysis, pictures),
    _training(inputs, analysis, pictures),
    _attention(pictures),
    _files(inputs),
  ]
  return [section for section in found if section.blocks]


def _what_came_out(inputs, analysis, pictures):
  answer = blocks.Answer(analysis["answer"], _numbers(inputs, analysis))
  parts = [answer, blocks.Cautions(analysis["cautions"]), _results(analysis)]
  if "comparison" in pictures:
    range_text = "volume's" if inputs.comparison_range else "slice's"
    caption = (
      "One evaluated slice. Numbers: PSNR and SSIM of this slice, with the target "
      f"{range_text} maximum as range. The yellow box is enlarged below; the last row "
      f"shows |image {wording.MINUS} target| on one scale, on which the input's may "
      "saturate."
    )
    alt = "Input, target and reconstructions, an enlarged region, and residues."
    parts.append(blocks.Picture(pictures["comparison"], alt, caption))
  return blocks.Section("What came out", parts)


def _numbers(inputs, analysis):
  pairs = {(p["a"], p["b"], p["metric"]): p for p in analysis["paired"]}
  gain = pairs.get((inputs.distilled, inputs.student, "psnr"))
  numbers = []
  if gain:
    label = (
      f"PSNR of {gain['a']} {wording.MINUS} {gain['b']} over {wording.units(gain)}, "
      f"95% interval {wording.interval(gain)}"
    )
    numbers.append((f"{wording.difference(gain)} dB", label))
  if gain and gain["gap_closed"] is not None:
    within = ""
    if gain["gap_ci95"]:
      low, high = map(wording.percent, gain["gap_ci95"])
      within = f", 95% interval [{low}, {high}]"
    label = f"of the PSNR gap to {inputs.teacher} closed{within}"
    numbers.append((wording.percent(gain["gap_closed"]), label))
  large, small = map(inputs.parameters.get, (inputs.teacher, inputs.distilled))
  if large and small:
    label = f"of the parameters of {inputs.teacher} ({count(small)} of {count(large)})"
    numbers.append((wording.percent(small / large), label))
  return numbers


def _results(analysis):
  names = [wording.LABELS[name] + _ARROWS.get(name, " ↓") for name in _COLUMNS]
  rows = [
    (
      row["model"],
      count(row["parameters"]),
      *(wording.mean_sd(row[name], name) for name in _COLUMNS),
      str(row["psnr"]["n"]),
    )
    for row in analysis["rows"]
  ]
  models = [row["model"] for row in analysis["rows"]]
  best = analysis["best"]
  note = (
    f"Protocol {analysis['protocol']}. Mean ± sample standard deviation over volumes; "
    "arrows point to better."
  )
  if best:
    note += f" Highlighted: {best}, the small network with the highest PSNR."
  left_out = sum(row[m]["left_out"] for row in analysis["rows"] for m in _COLUMNS)
  if left_out:
    note += f" {left_out} values are undefined or infinite and were left out of means."
  return blocks.Table(
    ("model", "parameters", *names, "volumes"),
    rows,
    note,
    models.index(best) if best else None,
    colours(models),
  )


def _is_it_real(analysis, pictures):
  pairs = analysis["paired"]
  if not pairs:
    return blocks.Section("Is the difference real?", [])
  rows = [
    (
      f"{p['a']} {wording.MINUS} {p['b']}",
      wording.LABELS[p["metric"]],
      wording.difference(p),
      wording.interval(p),
      wording.p_value(p["wilcoxon_p"]),
      wording.percent(p["gap_closed"]),
      f"{p['n']} {p['unit']}s" if p["n"] != 1 else f"1 {p['unit']}",
    )
    for p in pairs
  ]
  header = ("pair", "metric", "difference", "95% interval", "Wilcoxon p", "gap closed")
  note = (
    f"Percentile bootstrap, {count(analysis['bootstrap'])} resamples; two-sided "
    "Wilcoxon signed-rank test, not corrected for the number of comparisons. "
  )
  notes = dict.fromkeys(p["gap_note"] for p in pairs if p["gap_note"])
  note += " ".join(f"{text[0].upper()}{text[1:]}." for text in notes)
  parts = [blocks.Table((*header, "paired over"), rows, note)]
  if "differences" in pictures:
    unit = pairs[0]["unit"]
    caption = f"A dot is one {unit}; the diamond is the mean, the bar its 95% interval."
    alt = "Paired differences between the models with their intervals."
    parts.append(blocks.Picture(pictures["differences"], alt, caption))
  return blocks.Section("Is the difference real?", parts)


def _how_measured(inputs, analysis, pictures):
  dataset = {k: v for k, v in inputs.dataset.items() if k not in ("notes", "volumes")}
  parts = [
    blocks.Paragraph(
      f"Protocol {inputs.protocol}: {analysis['protocol_definition']} NMSE is the "
      "squared error over the squared target; HFN the same for 5-point Laplacians of "
      "slices, the prediction clipped to [0, 1]; HFEN compares Laplacians of Gaussian "
      "(15x15, sigma 1.5). The tables beside this report hold all three protocols."
    ),
    blocks.Paragraph(
      "The data are split by subject, never by slice; evaluated are the subjects of "
      f"the {inputs.evaluated_on} split."
    ),
    blocks.Facts(_facts(dataset)),
  ]
  if "mask" in pictures:
    caption = "The sampling mask, zero frequency at the centre; white is measured."
    picture = blocks.Picture(pictures["mask"], "Sampling mask.", caption, narrow=True)
    parts.append(picture)
  parts.append(blocks.Facts(_facts(inputs.mask, "mask")))
  return blocks.Section("How it was measured", parts)


def _training(inputs, analysis, pictures):
  parts = []
  if "learning_curves" in pictures:
    caption = (
      "Loss of each stage (its own sum of terms, so not comparable between stages) "
      "and validation PSNR, there for a range of 1."
    )
    alt = "Learning curves of every stage."
    parts.append(blocks.Picture(pictures["learning_curves"], alt, caption))
  rows = []
  for stage, lines in inputs.histories.items():
    epochs = [line["epoch"] for line in lines if line.get("event") == "epoch"]
    if not epochs:
      continue
    kept, spent = analysis["kept_epochs"][stage], inputs.seconds.get(stage)
    time = wording.ABSENT if spent is None else wording.duration(spent)
    rows.append((stage, str(max(epochs)), str(kept or wording.ABSENT), time))
  if rows:
    header = ("stage", "epochs", "weights kept from epoch", "training time")
    stages = [row[0] for row in rows]
    parts.append(blocks.Table(header, rows, colours=colours(stages)))
  return blocks.Section("How the networks were trained", parts)


def _attention(pictures):
  if "attention_maps" not in pictures:
    return blocks.Section("Where the networks look", [])
  text = (
    "Attention maps are the sums over channels of squared features, divided by their "
    "L2 norm. Distillation asks the student's maps to equal the teacher's; the number "
    "on each residue is its L2 norm."
  )
  alt = "Attention maps of every cascade and their residues to the teacher's."
  caption = "Attention maps of one evaluated slice, a column for each cascade."
  picture = blocks.Picture(pictures["attention_maps"], alt, caption)
  return blocks.Section("Where the networks look", [blocks.Paragraph(text), picture])


def _files(inputs):
  links = [
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
