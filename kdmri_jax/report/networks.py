"""The report's blocks on the networks: training, loss terms, attention."""

import numpy as np

from kdmri_jax.report import blocks, wording
from kdmri_jax.report.figures.images import normalised
from kdmri_jax.report.inputs import Attention, ReportInput
from kdmri_jax.report.rows import count
from kdmri_jax.training.log import NEGLIGIBLE


def training(inputs: ReportInput, analysis: dict) -> list:
  """Learning curves, epochs and time of every stage."""
  rows = [
    (stage, f"given: {each.origin}", wording.ABSENT, wording.ABSENT)
    for stage, each in inputs.given.items()
  ]
  for stage, runs in inputs.epochs.items():
    kept = ", ".join(str(e or wording.ABSENT) for e in analysis["kept_epochs"][stage])
    last = max(line["epoch"] for lines in runs for line in lines)
    time = inputs.seconds.get(stage)
    rows.append((stage, str(last), kept, wording.duration(time)))
  if not rows:
    return []
  header = ("stage", "epochs", "weights kept from epoch", "training time")
  note = ""
  if len(inputs.seeds) > 1:
    order = ", ".join(map(str, inputs.seeds))
    note = f"Epochs in the order of the seeds {order}; training time: mean of them."
  caption = (
    "Loss of each stage (its own sum of terms, so not comparable between stages) "
    "and validation PSNR, there for a range of 1."
  )
  curves = blocks.Picture("learning_curves", "Learning curves of every stage.", caption)
  return [curves, blocks.Table(header, rows, note)]


def audit(entries: list[dict]) -> list:
  """The gradients of the terms, from `gradient_audit.summarise`."""
  if not entries:
    return []
  text = (
    "At intervals the gradient of each weighted term of a loss was computed alone. Its "
    "share is its norm over the sum of all terms' norms: a term far below the others "
    "has no effect. The cosine compares its direction with that of the L1 error of the "
    "reconstruction: 1 is the same direction, 0 is independent, and below 0 the term "
    "opposes the image quality."
  )
  picture = blocks.Picture(
    "audit",
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
    for entry in entries
  ]
  header = ("stage: term", "share, median", "share, range", "cosine, median", "audits")
  return [blocks.Paragraph(text), picture, blocks.Table(header, rows)]


def attention(inputs: ReportInput) -> list:
  """Attention maps and their residues; nothing where there are none."""
  shown = inputs.attention
  if shown is None:
    return []
  asked = "No student shown here was asked to have the teacher's."
  if shown.taught:
    asked = (
      f"Distillation asks the maps of {', '.join(shown.taught)} to equal the teacher's."
    )
  text = (
    "Attention maps are the sums over channels of squared features, divided by their "
    f"L2 norm. {asked} The number on each residue is its L2 norm."
  )
  alt = "Attention maps of every layer and their residues to the teacher's."
  caption = (
    f"Attention maps of one evaluated slice{inputs.of_seed}; a column for each layer. "
    f"The layers are those of the stage {shown.stage}: {_layers(shown.hint)} of "
    f"{next(iter(shown.maps))}, {_layers(shown.guided)} of the others."
  )
  released = [blocks.Paragraph(_released(shown, name)) for name in shown.released]
  picture = blocks.Picture("attention_maps", alt, caption)
  return [blocks.Paragraph(text), *released, picture]


def _released(shown: Attention, name: str) -> str:
  """Why the maps of a network differ from the teacher's although it was taught them."""
  maps = {each: normalised(values) for each, values in shown.maps.items()}
  reference = next(iter(maps.values()))
  norms = {
    each: np.linalg.norm(reference - values, axis=(1, 2))
    for each, values in maps.items()
  }
  most = int(norms[name].argmax())
  text = (
    f"The last stage of {name} does not ask for the teacher's maps any more, so its "
    f"maps may leave them again. They differ most in cascade {most + 1}, with a "
    f"residue of {norms[name][most]:.3f}"
  )
  if shown.stage in norms and shown.stage != name:
    text += (
      f"; at the end of the stage {shown.stage} it was {norms[shown.stage][most]:.3f}"
    )
  return f"{text}. A good image does not need equal maps."


def _layers(names):
  return ", ".join(dict.fromkeys(names))
