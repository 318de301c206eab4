"""The report's sections, in the order in which a reader asks."""

import json

from kdmri_jax.evaluation import wording
from kdmri_jax.evaluation.figures import colours
from kdmri_jax.evaluation.report import blocks, comparisons
from kdmri_jax.evaluation.report.inputs import ReportInput
from kdmri_jax.evaluation.report.rows import cells, count
from kdmri_jax.evaluation.tables import plain
from kdmri_jax.training.log import NEGLIGIBLE

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
    _how_measured(inputs, analysis, pictures),
    _training(inputs, analysis, pictures),
    _audit(analysis, pictures),
    _attention(inputs, pictures),
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
      f"One evaluated slice{_of_seed(inputs)}. Numbers: PSNR and SSIM of this slice, "
      f"with the target {range_text} maximum as range. The yellow box is enlarged "
      f"below; the last row shows |image {wording.MINUS} target| on one scale, on "
      "which the input's may saturate."
    )
    alt = "Input, target and reconstructions, an enlarged region, and residues."
    parts.append(blocks.Picture(pictures["comparison"], alt, caption))
  return blocks.Section("What came out", parts)


def _of_seed(inputs):
  several = len(inputs.seeds) > 1
  return (
    f", reconstructed with the weights of seed {inputs.seeds[0]}" if several else ""
  )


def _numbers(inputs, analysis):
  pairs = {(p["a"], p["b"], p["metric"]): p for p in analysis["paired"]}
  leading = analysis["leading"]
  gain = pairs.get((leading, inputs.student, "psnr"))
  numbers = []
  if gain:
    label = (
      f"PSNR of {gain['a']} {wording.MINUS} {gain['b']} over {_over(gain)}, "
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
    note += f" Published: {inputs.published_source}."
  if best:
    note += f" Highlighted: {best}, the small network with the highest PSNR."
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
  for stage, runs in inputs.histories.items():
    epochs = [
      line["epoch"] for lines in runs for line in lines if line.get("event") == "epoch"
    ]
    if not epochs:
      continue
    kept = ", ".join(str(e or wording.ABSENT) for e in analysis["kept_epochs"][stage])
    spent = inputs.seconds.get(stage)
    time = wording.ABSENT if spent is None else wording.duration(spent)
    rows.append((stage, str(max(epochs)), kept, time))
  if rows:
    header = ("stage", "epochs", "weights kept from epoch", "training time")
    note = ""
    if len(inputs.seeds) > 1:
      order = ", ".join(map(str, inputs.seeds))
      note = f"Epochs in the order of the seeds {order}; training time: mean of them."
    parts.append(
      blocks.Table(header, rows, note, colours=colours(analysis["networks"]))
    )
  return blocks.Section("How the networks were trained", parts)


def _audit(analysis, pictures):
  title = "What each term contributes"
  if "audit" not in pictures:
    return blocks.Section(title, [])
  text = (
    "From time to time the gradient of each weighted term of a loss was taken by "
    "itself. Its share is its norm over the sum of all terms' norms: a term far below "
    "the others does nothing, whatever its name promises. The cosine compares its "
    "direction with that of the L1 error of the reconstruction: 1 teaches the same, 0 "
    "something else, and below 0 it works against the image."
  )
  picture = blocks.Picture(
    pictures["audit"],
    "Share of each term in the gradient, and its cosine with the reconstruction's.",
    "Share of the gradient (logarithmic) and cosine with the gradient of the L1 error "
    f"over the steps of a stage. Below the dashed line, {NEGLIGIBLE:g}, a term is in "
    "effect absent.",
  )
  rows = [
    (
      f"{entry['stage']}: {entry['term']}",
      wording.share(entry["share"]),
      f"{wording.share(entry['smallest_share'])} to "
      f"{wording.share(entry['largest_share'])}",
      wording.cosine(entry["cosine"]),
      count(entry["audits"]),
    )
    for entry in analysis["audit"]
  ]
  header = ("stage: term", "share, median", "share, range", "cosine, median", "audits")
  parts = [blocks.Paragraph(text), picture, blocks.Table(header, rows)]
  return blocks.Section(title, parts)


def _attention(inputs, pictures):
  if "attention_maps" not in pictures:
    return blocks.Section("Where the networks look", [])
  text = (
    "Attention maps are the sums over channels of squared features, divided by their "
    "L2 norm. Distillation asks the student's maps to equal the teacher's; the number "
    "on each residue is its L2 norm."
  )
  alt = "Attention maps of every cascade and their residues to the teacher's."
  caption = (
    f"Attention maps of one evaluated slice{_of_seed(inputs)}; a column for each "
    "cascade."
  )
  picture = blocks.Picture(pictures["attention_maps"], alt, caption)
  return blocks.Section("Where the networks look", [blocks.Paragraph(text), picture])


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
