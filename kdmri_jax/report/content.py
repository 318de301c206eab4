"""The report's sections, from the results to the details."""

from collections.abc import Collection, Sequence

from kdmri_jax import json_text
from kdmri_jax.data.source import SUBJECT
from kdmri_jax.data.split import plural
from kdmri_jax.report import (
  blocks,
  comparisons,
  for_paper,
  headline,
  in_words,
  networks,
  parts,
  result_tables,
  signal,
  sizes,
  speed,
  stability,
  viewer,
  wording,
)
from kdmri_jax.report.blocks import Document, Picture, Section
from kdmri_jax.report.figures import colours
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.parts import Failure
from kdmri_jax.report.rows import main

_MANY = 12


def document(inputs: ReportInput, analysis: dict, drawn: Collection[str]) -> Document:
  """The whole document; pictures are left out unless they are drawn.

  Args:
    inputs: the inputs of the report.
    analysis: from `analysis.analyse`.
    drawn: names of the figures that exist.
  """
  metrics = inputs.tables.metrics
  sections = {}
  for title, makers in {
    parts.RESULTS: (
      headline.blocks_of,
      result_tables.first,
      in_words.blocks_of,
      _comparison,
    ),
    parts.SLICES: (viewer.blocks_of,),
    parts.MEASURES: (result_tables.further,),
    parts.CAUTIONS: (_cautions,),
    parts.PAIRED: (lambda *_: comparisons.main(analysis, metrics),),
    parts.FURTHER: (lambda *_: comparisons.further(analysis, metrics),),
    parts.ROBUSTNESS: (lambda *_: stability.blocks_of(analysis["robustness"], inputs),),
    parts.SIGNAL: (lambda *_: signal.blocks_of(analysis["snr"]),),
    parts.TIME: (_time,),
    parts.SIZES: (_sizes,),
    parts.MEASURED: (_protocol, _split, _data, _mask),
    parts.TRAINED: (networks.training,),
    parts.AUDIT: (lambda *_: networks.audit(analysis["audit"]),),
    parts.ATTENTION: (lambda *_: networks.attention(inputs),),
    parts.PAPER: (for_paper.methods, for_paper.checklist),
    parts.FILES: (_files, _environment, _configuration),
  }.items():
    made = []
    for number, maker in enumerate(makers, 1):
      name = f"block {number} of this section"
      made += inputs.parts.make(title, name, maker, inputs, analysis, otherwise=[])
    sections[title] = [
      block for block in made if not isinstance(block, Picture) or block.name in drawn
    ]
  _tell_failures(sections, inputs.parts.failed)
  source, there = inputs.dataset.get("source"), inputs.dataset.get("test_source")
  if there:
    source = f"trained on {there['trained_on']}, tested on {there['tested_on']}"
  subtitle = f"Protocol {inputs.roles.protocol}"
  subtitle += f", data: {source}" if source else ""
  subtitle += f", {wording.seeds(len(inputs.seeds))}" if len(inputs.seeds) > 1 else ""
  return Document(
    inputs.title,
    subtitle,
    [Section(title, found) for title, found in sections.items() if found],
    colours(analysis["networks"]),
  )


def _tell_failures(sections: dict[str, list], failed: Sequence[Failure]) -> None:
  """Tells what is missing in its place, at the head of the report, and in detail."""
  if not failed:
    return
  for failure in failed:
    sections[failure.section].append(blocks.Missing(f"{failure}."))
  names = "; ".join(f"{failure.part} ({failure.section})" for failure in failed)
  head = f"This report is not complete. Missing: {names}. The reasons are told there."
  sections[parts.RESULTS].insert(0, blocks.Missing(head))
  text = "\n".join(f"{failure.part}\n{failure.traceback}" for failure in failed)
  sections[parts.FILES].append(blocks.Folded("Errors", text))


def _cautions(inputs, analysis):
  return [blocks.Cautions(analysis["cautions"])]


def _comparison(inputs, analysis):
  shown = " and ".join(m.title for m in main(inputs.tables.metrics).values())
  range_text = "volume's" if inputs.comparison_range else "slice's"
  caption = (
    f"One evaluated slice{inputs.of_seed}. Numbers: {shown} of this slice, "
    f"with the target {range_text} maximum as range. The yellow box is enlarged "
    f"below; the last row shows |image {wording.MINUS} target| on one scale, on "
    "which the input's may saturate."
  )
  alt = "Input, target and reconstructions, an enlarged region, and residues."
  return [Picture("comparison", alt, caption)]


def _time(inputs, analysis):
  return speed.blocks_of(analysis["timing"], inputs.roles.published_source)


def _sizes(inputs, analysis):
  return sizes.blocks_of(analysis["sizes"], next(iter(inputs.tables.metrics.values())))


def _protocol(inputs, analysis):
  definitions = [
    f"{metric.title} is {metric.definition}"
    for metric in inputs.tables.metrics.values()
    if metric.definition
  ]
  more = f"{'; '.join(definitions)}. " if definitions else ""
  return [
    blocks.Paragraph(
      f"Protocol {analysis['protocol']}: {analysis['protocol_definition']} "
      f"{more}The tables beside this report hold all three protocols."
    )
  ]


def _split(inputs, analysis):
  del analysis
  if there := inputs.dataset.get("test_source"):
    text = (
      f"The networks were trained on {there['trained_on']} and are tested on "
      f"{there['tested_on']}; evaluated are {plural(inputs.unit)} of this source alone."
    )
    return [blocks.Paragraph(text)]
  never = "slice" if inputs.unit == SUBJECT else "subject"
  return [
    blocks.Paragraph(
      f"The data are split by {inputs.unit}, not by {never}; evaluated are the "
      f"{plural(inputs.unit)} of the {inputs.evaluated_on} split."
    )
  ]


def _data(inputs, analysis):
  del analysis
  many, tested = plural(inputs.dataset["unit"]), plural(inputs.unit)
  dataset = {
    key.replace("subjects", many): value
    for key, value in inputs.dataset.items()
    if key not in ("notes", "volumes") and value not in (None, "", 0, [0, 0], [], {})
  }
  if len(sizes := list(dataset.get("shapes", {}))) == 1:
    dataset["shapes"] = sizes  # slices has their numbers
  if tested != many and "test" in dataset.get(many, {}):
    dataset[many] = dict(dataset[many])
    dataset[f"{tested} test"] = dataset[many].pop("test")
  return [blocks.Facts(_facts(dataset))]


def _mask(inputs, analysis):
  del analysis
  axis = {0: "rows", 1: "columns"}.get(inputs.mask.get("axis"), "")
  known = {**inputs.mask, "axis": axis}
  caption = "The sampling mask, zero frequency at the centre; white is measured."
  return [
    Picture("mask", "Sampling mask.", caption, narrow=True),
    blocks.Facts(_facts(known, "mask")),
  ]


def _files(inputs, analysis):
  del analysis
  links = [
    ("summary.csv", "the table of results, one line per network and metric"),
    ("table.tex", "the table of results for a paper, in LaTeX (also table.csv)"),
    ("methods.md", "the methods paragraphs for a paper"),
    ("references.bib", "BibTeX of this software, and of the papers that this run uses"),
    ("claim.csv", "the CLAIM checklist, with what this run knows"),
    ("volumes.csv", "metrics of every volume, all protocols (also volumes.json)"),
    ("slices.csv", "metrics of every slice, all protocols (also slices.json)"),
    ("report.json", "everything in this report for programs"),
    ("report.md", "this report as Markdown"),
  ]
  if inputs.robustness:
    text = "metrics of every volume under the shifted conditions"
    links.insert(1, ("robustness.csv", text))
  return [blocks.Links(links)]


def _environment(inputs, analysis):
  del analysis
  return [blocks.Facts(_facts(inputs.environment))]


def _configuration(inputs, analysis):
  del analysis
  return [blocks.Folded("Configuration", json_text.dumps(inputs.config, indent=2))]


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
