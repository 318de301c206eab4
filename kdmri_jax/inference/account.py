"""What a reconstruction did, what its network was trained on, and warnings."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import kdmri_jax
from kdmri_jax.config import ExperimentConfig, TaskConfig
from kdmri_jax.data import digests, input_scale, traits
from kdmri_jax.data.input_scale import InputScale
from kdmri_jax.data.source import SUBJECT
from kdmri_jax.data.split import counted
from kdmri_jax.errors import UserError
from kdmri_jax.inference.load import read_data, stored_mask
from kdmri_jax.metrics import METRICS, quality
from kdmri_jax.models import features
from kdmri_jax.physics import acquisition
from kdmri_jax.physics.masks import describe
from kdmri_jax.pretrained import store
from kdmri_jax.training.stage_folder import StageFolder
from kdmri_jax.training.workdir import WorkDir
from kdmri_jax.types import Shape

_ONE_HEAD = "mni152"
_QUALITY = ("psnr", "ssim", "nmse")


class Training(NamedTuple):
  """The training of a network, as far as it is recorded.

  Attributes:
    config: of one task.
    task: its name.
    data: the record of the data of the run; of a given stage also "given", its origin.
    text: in words.
    warnings: what restricts its use whatever the scan is.
  """

  config: ExperimentConfig
  task: str
  data: Mapping[str, Any]
  text: str
  warnings: list[str]

  @property
  def input_scale(self) -> InputScale:
    """How a scan is divided for the network."""
    return input_scale.of_training(self.config.data, self.data, self.task)


class Account(NamedTuple):
  """What happened to a scan.

  Attributes:
    facts: name -> sentence.
    warnings: sentences.
    quality: image -> metric -> value, where the target is known.
  """

  facts: dict[str, str]
  warnings: list[str]
  quality: dict[str, dict[str, float]]

  def record(self) -> dict[str, Any]:
    """A JSON object for the file of the result."""
    own = {"kdmri_jax": kdmri_jax.__version__, **self.facts}
    return own | {"quality": self.quality, "warnings": self.warnings}

  def __str__(self) -> str:
    lines = [f"{name}: {text}" for name, text in self.facts.items()]
    return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def training(
  workdir: pathlib.Path, config: ExperimentConfig, stage: str, seed: int, task: str
) -> Training:
  """Reads how a finished stage was trained.

  Args:
    workdir: the run's folder.
    config: the experiment of the task.
    stage: name of the stage.
    seed: of the weights.
    task: name of the task.
  """
  data, plan = read_data(workdir), config.stages[stage]
  folder = StageFolder(WorkDir(workdir, seed).stage(stage))
  if given := folder.given():
    text = f"weights given by {given['text']}"
    warning = "It is not recorded here on which images these weights were trained."
    return Training(config, task, {**data, "given": given}, text, [warning])
  epochs = plan.epochs or config.epochs
  names = data.get("subjects", {}).get("train", [])
  slices = data.get("slices", {}).get("train", "an unknown number of")
  contrast = f", {config.data.contrast}" if config.data.contrast else ""
  scaling = {
    "volume_max": "each volume divided by its maximum",
    "none": "intensities as stored",
  }.get(data.get("scaling"), "unknown scaling")
  simulated = "simulated" if data.get("simulated_kspace") else "measured"
  inputs = " with given inputs" if data.get("given_inputs") else ""
  sampled = _sampling(workdir, config, task)
  measured = ", ".join(filter(None, (sampled, config.noise.in_words)))
  text = (
    f"{slices} slices of {counted(len(names), data.get('unit', SUBJECT))} "
    f"({config.data.source}{contrast}){inputs}, {', '.join(_sizes(data))}, {scaling}, "
    f"{simulated} k-space, {measured}; {epochs} epochs, weights of the lowest "
    f"{plan.select} in validation"
  )
  warnings = [*_limits(data, names), *_without_phase(config, data)]
  return Training(config, task, data, text, warnings)


def _sampling(workdir: pathlib.Path, config: ExperimentConfig, task: str) -> str:
  """How the mask of a run samples; one from a file as it is, where it is stored."""
  mask = stored_mask(workdir, task) if config.mask.kind == "file" else None
  return config.mask.in_words if mask is None else in_words(mask)


def _sizes(data: Mapping[str, Any]) -> list[str]:
  """The sizes of the training slices, such as "256x256"."""
  return [size for size, own in data["shapes"].items() if "train" in own]


def _limits(data: Mapping[str, Any], names: Sequence[str]) -> list[str]:
  origins = set()
  for volume in data.get("volumes", []):
    if volume.get("split") == "test":
      continue
    earlier = volume.get("prepared_from") or {}
    origins.add(earlier.get("source") or volume.get("source"))
  found = []
  if "phantom" in origins:
    found.append(
      "The network was trained on phantoms, not on images of people: it shows that "
      "the program works, and is no network for real scans."
    )
  if _ONE_HEAD in origins:
    found.append(
      "The network was trained on slabs of one head, as in the demo: it shows that "
      "the program works, and is no network for other scans."
    )
  elif len(names) == 1:
    found.append("The network was trained on one subject: others may differ from it.")
  return found


def _without_phase(config: ExperimentConfig, data: Mapping[str, Any]) -> list[str]:
  if data.get("complex_file", "") is not None or not config.coils.count:
    return []
  if config.coils.phase_of_images and not data.get("given_inputs"):
    return []
  return [
    "The network was trained on images without a phase, which those of scans have: for "
    "a scan it may be worse than its input."
  ]


def outside(known: Training, mask: np.ndarray | None, inputs: np.ndarray) -> list[str]:
  """Warnings where a scan lies outside of the training data.

  Args:
    known: the training.
    mask: how the scan was sampled, [H, W]; None for images that are not undersampled.
    inputs: magnitudes of the network's input in its own scale, [S, H, W].
  """
  if "given" in known.data:
    return list(known.warnings)
  found, shape = list(known.warnings), inputs.shape[1:]
  sizes = _sizes(known.data)
  size = "x".join(map(str, shape))
  if size not in sizes:
    found.append(
      f"The slices are {size}; the network was trained on {', '.join(sizes)} alone."
    )
  if mask is not None:
    found += _other_mask(known, mask, shape)
  record = known.data.get("inputs")
  record = record.get(known.task) if isinstance(record, Mapping) else None
  own = traits.of_slices(inputs)
  if record is None or record.get("traits") != list(traits.NAMES):
    if "inputs" not in known.data:
      found.append(
        "It is not known whether the images resemble those of the training: the work "
        "directory has no record of them. Repeating the command of its run adds it."
      )
  elif "limit" in record and len(own):
    far = traits.distance(record, own)
    if far > record["limit"]:
      found.append(
        "The images differ in their statistics (intensities, frequencies, extent) "
        f"from those of the training: distance {far:.1f}, for the training's own "
        f"subjects about 1, up to {record['limit']:.1f} counts as alike. It may be "
        "another anatomy, contrast, resolution or scaling."
      )
  return found


def other_coils(known: Training, count: int) -> list[str]:
  """A warning where several coils meet a network that was trained on one, or one coil a
  network of several; [] otherwise.

  Args:
    known: the training.
    count: number of the coils that measure the scan.
  """
  if "given" in known.data:
    return []
  trained = known.config.coils.count or known.data.get("coils", 1)
  if (trained > 1) == (count > 1):
    return []
  of = [
    "several coils" if several else "one coil" for several in (count > 1, trained > 1)
  ]
  return [
    f"The k-space is that of {of[0]}; the network was trained on that of {of[1]}."
  ]


def _other_mask(known: Training, mask: np.ndarray, shape: Shape) -> list[str]:
  try:
    task = TaskConfig(known.config.mask, known.config.noise)
    own = acquisition.build({"": task}, shape).masks[0]
  except UserError:
    same = digests.digest([np.ascontiguousarray(mask[None])])
    if same == known.data.get("mask_digest"):
      return []
    return ["It is not known whether the network was trained with this mask."]
  if np.array_equal(own != 0, mask != 0):
    return []
  here, there = in_words(mask), in_words(own)
  if here == there:
    shared = describe.shared(mask, own)
    there = f"other ones of the same number, of which {shared:.0%} are the same"
  return [f"The scan is sampled at {here}; the network was trained with {there}."]


def in_words(mask: np.ndarray) -> str:
  """A mask: "37 of 150 rows (acceleration 4.1), 10 of them at the centre"."""
  found = describe.describe(mask)
  centre = f"{found['centre_lines']} of them at the centre"
  rate = f"acceleration {found['acceleration']:.1f}"
  if found["axis"] is None:
    side = found["centre_lines"]
    return f"{int((mask != 0).sum())} points ({rate}), {side}x{side} at the centre"
  axis = ("rows", "columns")[found["axis"]]
  count = mask.shape[found["axis"]]
  return f"{found['sampled_lines']} of {count} {axis} ({rate}), {centre}"


def compared(
  target: np.ndarray, output: np.ndarray, other: np.ndarray, name: str
) -> tuple[dict[str, dict[str, float]], str, list[str]]:
  """Quality of the network's output and of other images.

  Args:
    target: [S, H, W].
    output: of the network, likewise.
    other: its input, or a classical reconstruction, likewise.
    name: of the other.

  Returns:
    The values under "output" and `name`, a sentence, and warnings.
  """
  names = [n for n in _QUALITY if min(target.shape[1:]) >= METRICS[n].window]
  metrics = {name: METRICS[name] for name in names}
  values, slices = {}, {}
  for key, image in ((name, other), ("output", output)):
    measured = quality.measure(target, image, metrics, ("kdmri",))["kdmri"]
    values[key], slices[key] = measured.volume, measured.slices["psnr"]
  parts, worse = [], []
  for key, metric in metrics.items():
    old, new = values[name][key], values["output"][key]
    text = f"{metric.label} {old:.{metric.decimals}f} -> {new:.{metric.decimals}f}"
    parts.append(text)
    if new < old if metric.higher_is_better else new > old:
      worse.append(text)
  count = int(np.sum(slices["output"] < slices[name]))
  sentence = f"{', '.join(parts)}; worse in {count} of {len(target)} slices (PSNR)"
  warnings = []
  if worse:
    of = "its input" if name == "input" else name
    warnings = [f"The reconstruction is worse than {of}: {', '.join(worse)}."]
  return values, sentence, warnings


def of_network(
  workdir: pathlib.Path, config: ExperimentConfig, stage: str, seed: int, params: Any
) -> str:
  """The network in words."""
  settings = config.models[config.stages[stage].model]
  count = features.count_parameters(params)
  name = settings.network
  whose = store.named(workdir) or f"stage {stage}, seed {seed}"
  return f"{whose}: {name} of {count:,} parameters"
