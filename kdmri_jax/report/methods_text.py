"""The methods paragraphs for a paper, from the run's own records."""

import math
from collections.abc import Mapping
from typing import Any

from kdmri_jax import config as config_lib
from kdmri_jax.config import CoilsConfig, DataConfig, ExperimentConfig, MaskConfig
from kdmri_jax.data.split import counted
from kdmri_jax.report import comparisons, wording
from kdmri_jax.report.inputs import ReportInput
from kdmri_jax.report.rows import count, listed
from kdmri_jax.report.training_text import seeds, training, value_text

NETWORKS = {
  "dccnn": "DC-CNN",
  "edsr": "EDSR",
  "swinir": "SwinIR",
  "unet": "U-Net",
  "varnet": "E2E-VarNet",
  "vdsr": "VDSR",
}
_SPLITS = {
  "train": "for training",
  "validation": "for validation",
  "test": "held out for the test",
}


def paragraphs(inputs: ReportInput, analysis: dict) -> dict[str, str]:
  """Heading -> text; a text holds what this run knows, and nothing else.

  Args:
    inputs: the inputs of the report.
    analysis: from `analysis.analyse`.
  """
  config = config_lib.parse(inputs.config)
  found = {
    "Data": [*data(inputs, config), *preparation(inputs, config)],
    "Measurement": measurement(inputs, config),
    "Networks": networks(inputs, config),
    "Training": [*training(inputs, config), *seeds(inputs)],
    "Evaluation": [*metrics(inputs, analysis), *statistics(inputs, analysis)],
    "Software": software(inputs),
  }
  return {heading: " ".join(texts) for heading, texts in found.items() if texts}


def markdown(inputs: ReportInput, analysis: dict) -> str:
  """The paragraphs as the file methods.md."""
  texts = paragraphs(inputs, analysis)
  head = f"# Methods of {inputs.title}\n\n"
  head += (
    "Every number is from the records of this run; references.bib has the sources."
  )
  return "\n\n".join([head, *(f"## {k}\n\n{text}" for k, text in texts.items())]) + "\n"


def data(inputs: ReportInput, config: ExperimentConfig) -> list[str]:
  """The subjects and slices of each split."""
  record, unit = inputs.dataset, inputs.dataset["unit"]
  splits, slices = record.get("subjects", {}), record.get("slices", {})
  sizes = []
  for name, words in _SPLITS.items():
    if name == "test" and not record.get("held_out_test"):
      continue
    if name in splits:
      many = f" ({counted(slices[name], 'slice')})" if name in slices else ""
      own = inputs.unit if name == "test" else unit
      sizes.append(f"{counted(len(splits[name]), own)} {words}{many}")
  there = record.get("test_source")
  source = config.data.label
  if there:
    source = f"{there['trained_on']} and, for the test, {there['tested_on']}"
  texts = [f"Source: {source}; {', '.join(sizes)}. They were split by {unit}."]
  if rule := record.get("split_rule"):
    texts.append(rule)
  if inputs.evaluated_on == "validation":
    texts.append(
      f"No {unit} was held out for the test: those for validation, which also chose "
      "the weights, were evaluated."
    )
  return texts


def preparation(inputs: ReportInput, config: ExperimentConfig) -> list[str]:
  """Crop, selection of slices, scaling, channels."""
  record, data = inputs.dataset, config.data
  texts = []
  if sizes := list(record.get("shapes", {})):
    texts.append(f"Slices have {' or '.join(sizes)} pixels.")
  if any(data.crop):
    height, width = data.crop
    texts.append(
      f"They were cropped or zero-padded about the centre to {height}x{width}."
    )
  if number := data.slices_per_volume:
    texts.append(f"The {number} central slices of each volume were used.")
  if data.scaling == "volume_max":
    of = "its input's" if record.get("given_inputs") else "its"
    texts.append(f"Each volume was divided by {of} largest magnitude.")
  else:
    texts.append("Intensities were not scaled.")
  if channels := record.get("channels"):
    kind = "complex, real and imaginary part as channels" if channels == 2 else "real"
    texts.append(f"Images are {kind}.")
  return texts


def measurement(inputs: ReportInput, config: ExperimentConfig) -> list[str]:
  """K-space, coils, mask and noise."""
  record, texts = inputs.dataset, []
  kind = config.mask.kind
  if record.get("given_inputs"):
    what = "images that were given beside the targets"
    if config.data.repeats:
      what = f"means of {config.data.repeats} repeats, whose others are the targets"
    texts += [f"The networks' inputs are {what}.", *_simulated(config.coils)]
  else:
    texts += _kspace("K-space", record, config.data, config.coils)
    tested = record.get("test_source", record)
    if tested.get("stored_kspace_used") != record.get("stored_kspace_used"):
      what = "K-space of the test"
      texts += _kspace(what, tested, config.data.of_tested, config.coils)
  if not (record.get("given_inputs") and kind == "full"):
    texts.append(_mask(config.mask, inputs.mask))
  low, high = config.noise.snr
  if math.isfinite(low):
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    mean = f", {config.noise.averages} averages" if config.noise.averages > 1 else ""
    texts.append(f"Gaussian noise was added to it (SNR {span}{mean}).")
  if config.tasks:
    names = ", ".join(config.tasks)
    texts.append(
      f"The networks learned {len(config.tasks)} tasks ({names}); described is that of "
      "this report."
    )
  return texts


def _kspace(
  what: str, record: Mapping[str, Any], data: DataConfig, coils: CoilsConfig
) -> list[str]:
  """The origin of a source's k-space, which is called `what`."""
  if not record.get("stored_kspace_used"):
    texts = [f"{what} was simulated by the Fourier transform of the images."]
    texts += _simulated(coils)
    if coils.phase_of_images and record.get("complex_file", "") is None:
      most = f"{coils.phase:g}"
      texts.append(
        f"Each image got a smooth phase that varies by up to {most} radians."
      )
    return texts
  texts = [f"{what} is that of the files."]
  if record.get("coils", 1) > 1:
    how = {"espirit": "ESPIRiT", "low_resolution": "low-resolution images"}
    by = how.get(data.sensitivities)
    known = f"estimated by {by}" if by else "given in the files"
    numbers = record.get("coil_numbers", [record["coils"]])
    count = " to ".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
    texts.append(f"It has {count} coils, with sensitivities {known}.")
  return texts


def _simulated(coils: CoilsConfig) -> list[str]:
  if not coils.count:
    return []
  return [f"{coils.count} receiver coils were simulated (seed {coils.seed})."]


def _mask(config: MaskConfig, known: Mapping[str, Any]) -> str:
  if config.kind == "full":
    return "It was fully sampled."
  if config.kind == "central":
    factor = f"{config.acceleration:g}"
    return f"Only its centre was kept, 1/{factor} of each axis (super-resolution)."
  words = {
    "cartesian": "a Cartesian mask of random lines",
    "equispaced": "a Cartesian mask of equispaced lines",
    "gaussian2d": "a mask of random points of Gaussian density",
    "file": "a given mask",
  }[config.kind]
  acceleration = known.get("acceleration")
  details = [f"{acceleration:.2f}-fold acceleration"] if acceleration else []
  if known.get("sampled_lines"):
    axis = "columns" if known.get("axis") else "rows"
    details.append(f"{known['sampled_lines']} {axis} sampled")
  if known.get("centre_lines"):
    details.append(f"the central {known['centre_lines']} fully sampled")
  if config.kind != "file":
    details.append(f"seed {config.seed}")
  told = f"{words} ({', '.join(details)})"
  return f"It was undersampled by {told}, the same for all slices of a size."


def networks(inputs: ReportInput, config: ExperimentConfig) -> list[str]:
  """The networks of the run with their settings and sizes."""
  texts = []
  for name, model in config.models.items():
    stages = [k for k in config.pipeline if config.stages[k].model == name]
    if not stages:
      continue
    known = (inputs.parameters[stage] for stage in stages if stage in inputs.parameters)
    size = next(known, None)
    settings = ", ".join(f"{k} {value_text(v)}" for k, v in model.settings.items())
    title = NETWORKS.get(model.network, model.network)
    text = f"Network {name}: {title}" + (f" ({settings})" if settings else "")
    texts.append(f"{text}, {count(size)} parameters." if size else f"{text}.")
  return texts


def metrics(inputs: ReportInput, analysis: dict) -> list[str]:
  """What was measured, and by which protocol."""
  shown = listed(inputs.tables.metrics).values()
  names = ", ".join(metric.title for metric in shown)
  volumes = {(r["subject"], r["volume"]) for r in inputs.tables.volumes}
  subjects = len({subject for subject, _ in volumes})
  definitions = [f"{m.title} is {m.definition}." for m in shown if m.definition]
  return [
    f"Measured on {counted(len(volumes), 'volume')} of "
    f"{counted(subjects, inputs.unit)}: {names}, protocol {analysis['protocol']}. "
    f"{analysis['protocol_definition']}",
    *definitions,
  ]


def statistics(inputs: ReportInput, analysis: dict) -> list[str]:
  """Tests and intervals, as far as they were made."""
  texts = ["Tables give mean and sample standard deviation over volumes."]
  pairs = [*analysis["paired"], *analysis["further"]]
  if pairs:
    compared = ", ".join(dict.fromkeys(p["unit"] for p in pairs))
    note = comparisons.note(pairs)
    texts.append(f"Differences were paired by {compared}. {note}")
  tested = [p["equivalence"] for p in pairs if p["equivalence"]]
  if tested:
    texts.append(
      f"Equivalence to the teacher within ±{tested[0]['margin']:g} dB PSNR was tested "
      "by two one-sided t tests at 0.05."
    )
  if inputs.snr and inputs.snr.effects:
    texts.append("SNR in regions was compared by a linear mixed-effects model.")
  if shifted(inputs):
    texts.append(f"Also measured under: {shifted(inputs)}.")
  return texts


def shifted(inputs: ReportInput) -> str:
  """The conditions of robustness; "" for none."""
  return ", ".join(inputs.robustness)


def software(inputs: ReportInput) -> list[str]:
  """Versions and devices of the evaluation, and the time of the trainings."""
  known = dict(inputs.environment)
  devices = known.pop("devices", None)
  known.pop("cpu_cores", None)
  own = {k: v for k, v in known.items() if k == "kdmri_jax"}
  versions = ", ".join(f"{k} {v}" for k, v in (own | known).items())
  texts = [f"Evaluated with {versions}" + (f", on {devices}." if devices else ".")]
  if inputs.seconds:
    total = wording.duration(sum(inputs.seconds.values()))
    each = " for each seed" if len(inputs.seeds) > 1 else ""
    texts.append(f"The stages of this run took {total} to train{each}.")
  return texts if versions else []
