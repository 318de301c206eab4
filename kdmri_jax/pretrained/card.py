"""The card of a pretrained network: its origin, its quality and its limits."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.physics.masks import recipes

LIMITS = "Magnitude images, simulated k-space, not for diagnosis."


@dataclasses.dataclass(frozen=True)
class Card:
  """What is known about a pretrained network; `print` shows it as Markdown.

  Attributes:
    name: the name by which it is loaded.
    network: its class and number of parameters, in words.
    parameters: number of its parameters.
    stage: the stage of its run.
    images: the images it was trained on.
    licence: of these images.
    citation: of these images.
    trained_on: number and kind of the slices, mask, epochs, selection; in words.
    command: the command that trained it.
    revision: of the code that trained it.
    version: of kdmri_jax, likewise.
    digest: of its weights, as they are loaded.
    digest_in_run: of the weights of the run, which the files hold in half precision.
    metrics: on the test subjects, which neither trained nor selected it: "protocol",
      "over" (of what the means are), "rows" {"name", "parameters", "psnr", "ssim",
      "gain"}, each value with "mean" and "ci95", and "rounding", the PSNR gained by the
      half precision; "gain" is that of this network over the row.
    limits: sentences on its use.
    config: the experiment, as in a work directory's config.json.
    data: the record of its data, as in dataset.json, without names of files.
    record: what the stage was trained with, as in trained_with.json.
    training_sets: its training subjects, see `training.given.Origin`; the digests of
      their slices are short.
    complete: whether these are all that are known to have trained it or its teachers.
  """

  name: str
  network: str
  parameters: int
  stage: str
  images: str
  licence: str
  citation: str
  trained_on: str
  command: str
  revision: str
  version: str
  digest: str
  digest_in_run: str
  metrics: Mapping[str, Any]
  limits: Sequence[str]
  config: Mapping[str, Any]
  data: Mapping[str, Any]
  record: Mapping[str, Any]
  training_sets: Sequence[Mapping[str, Any]]
  complete: bool

  @property
  def experiment(self) -> ExperimentConfig:
    """The experiment that trained it."""
    return config_lib.parse(config_lib.of_any_version(dict(self.config)))

  def __str__(self) -> str:
    return "\n".join(self._lines()) + "\n"

  def _repr_markdown_(self) -> str:
    return str(self)

  def _lines(self) -> Iterator[str]:
    yield f"## {self.name}\n"
    yield f"{self.network}. {' '.join(self.limits)}\n"
    yield from self._results()
    subjects = self.data["subjects"]
    for label, text in (
      ("images", self.images),
      ("licence", self.licence),
      ("citation", self.citation),
      ("trained on", self.trained_on),
      ("training subjects", ", ".join(subjects["train"])),
      ("validation subjects", ", ".join(subjects["validation"])),
      ("test subjects", ", ".join(subjects["test"])),
      ("k-space", self._measured()),
      ("made by", f"`{self.command}`, revision {self.revision}, {self.version}"),
      ("digest", f"{self.digest}; before rounding {self.digest_in_run}"),
    ):
      yield f"- {label}: {text}"

  def _measured(self) -> str:
    mask, noise = self.experiment.mask, self.experiment.noise.in_words
    _, used = recipes.KINDS.get(mask.kind, (None, ()))
    settings = {
      "centre_lines": f"{mask.centre_lines} centre lines",
      "axis": f"axis {mask.axis}",
      "seed": f"seed {mask.seed}",
    }
    told = (text for name, text in settings.items() if name in used)
    return ", ".join(filter(None, (mask.in_words, *told, noise)))

  def _results(self) -> Iterator[str]:
    yield "| | parameters | PSNR, dB | SSIM | gain of this network, dB |"
    yield "|---|---|---|---|---|"
    for row in self.metrics["rows"]:
      count = f"{row['parameters']:,}" if row["parameters"] else ""
      values = _value(row["psnr"], 2), _value(row["ssim"], 4)
      gain = _value(row["gain"], 2, "+") if row["gain"] else ""
      yield "| " + " | ".join((row["name"], count, *values, gain)) + " |"
    rounding, over = abs(self.metrics["rounding"]), self.metrics["over"]
    yield (
      f"\nTest subjects, protocol {self.metrics['protocol']}: mean and its interval of "
      f"95% over {over}. The weights are stored in half precision, which changes the "
      f"PSNR by {rounding:.4f} dB.\n"
    )
    if " slices of " in over:
      yield (
        "Slices of the same subject are not independent of each other, so the "
        "intervals are too narrow; other subjects may differ.\n"
      )


def _value(value: Mapping[str, Any], decimals: int, sign: str = "") -> str:
  low, high = value["ci95"]
  numbers = (f"{x:{sign}.{decimals}f}" for x in (value["mean"], low, high))
  return "{} [{}, {}]".format(*numbers)
