"""The inputs of a report."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.config.schema import EvaluationConfig
from kdmri_jax.data.split import unit_of_tested
from kdmri_jax.report.parts import Parts
from kdmri_jax.report.roi_snr import Measured
from kdmri_jax.report.shown_slices import ShownSlice
from kdmri_jax.report.tables import Tables

Histories = Mapping[str, Sequence[Sequence[dict]]]


def events(histories: Histories, kind: str) -> dict[str, list[list[dict]]]:
  """Stage -> for each seed its lines of a kind; omits stages and seeds without any.

  Args:
    histories: stage -> for each seed the lines of its metrics.jsonl.
    kind: their "event": "epoch" or "audit".
  """
  found = {
    stage: [[line for line in lines if line.get("event") == kind] for lines in runs]
    for stage, runs in histories.items()
  }
  return {stage: list(filter(None, runs)) for stage, runs in found.items() if any(runs)}


class Budget(NamedTuple):
  """The training cost of a network's weights, including the stages they started from.

  Attributes:
    epochs: epochs of the network itself: not those of another one whose layers it took
      over; None where they are not known.
    steps: optimiser steps; None where the record of a stage is missing.
    seconds: training time, mean over the seeds; None likewise.
    given: whether the network was not trained in this run.
  """

  epochs: int | None
  steps: int | None
  seconds: float | None
  given: bool = False

  @property
  def minutes(self) -> float | None:
    """`seconds` in minutes."""
    return None if self.seconds is None else self.seconds / 60


class Attention(NamedTuple):
  """Attention maps of one slice, and their layers.

  Attributes:
    maps: name -> maps [K, H, W], one map for each of K layers, the teacher's first.
    stage: the stage whose attention transfer compares these layers.
    hint: the teacher's layers.
    guided: the other networks' layers.
    taught: the networks that were trained to match the teacher's maps there.
    released: of these, the ones whose last stage no longer asks for it.
  """

  maps: dict[str, np.ndarray]
  stage: str
  hint: tuple[str, ...]
  guided: tuple[str, ...]
  taught: tuple[str, ...]
  released: tuple[str, ...] = ()


class GivenStage(NamedTuple):
  """A stage that was not trained in this run.

  Attributes:
    origin: where it comes from, in words.
    has_network: whether it has weights of its network; else its images alone are known.
    record: of its training, see `records.describe`; None where unknown.
    taught_by: its teachers, in words; () for none and where unknown.
    once: whether it is the same for all seeds.
  """

  origin: str
  has_network: bool = True
  record: Mapping[str, Any] | None = None
  taught_by: tuple[str, ...] = ()
  once: bool = True


@dataclasses.dataclass(frozen=True)
class ReportInput:
  """All inputs of a report.

  Models may be missing if only a part of an experiment was trained; the report then
  covers the existing ones.

  Attributes:
    title: name of the experiment.
    roles: the settings of the comparison: protocol, roles of the models, further pairs,
      and the published numbers that hold for these data.
    tables: metrics of all models under all protocols.
    dataset: record of the data: source, subjects of each split, scaling, crop; "unit"
      names what its subjects are ("subject", "file"), "simulated_kspace" is False only
      where the scanner's own k-space was used, and "notes" (a list of sentences) join
      the cautions. Evaluated subjects of another source have these in "test_source".
    evaluated_on: split that was evaluated, "test" or "validation".
    mask: description of the mask.
    parameters: number of parameters of each network.
    config: the whole resolved configuration.
    environment: versions and devices.
    seeds: seeds of the trainings.
    histories: stage -> for each seed the lines of its metrics.jsonl.
    given: the stages that were not trained in this run, by name.
    seconds: stage -> its own training time, mean over the seeds.
    budgets: model -> training cost of its weights.
    audits: stage -> for each seed its audits, from `gradient_audit.collect`.
    mask_image: mask [H, W], zero frequency at [0, 0]; None for no picture.
    comparison_images: name -> image [H, W] for `figures.comparison`, or None.
    comparison_range: range of their PSNR and SSIM; None takes the target's maximum.
    slices: slices for the page in which images are compared.
    attention: maps of the slice shown, or None.
    snr: signal-to-noise ratio in regions, or None.
    timing: model -> seconds of each repetition; {} where none was measured.
    robustness: shifted condition -> metrics of the models under it; of volumes of
      another source with its record.
    multiplications: model -> multiplications for a slice, where known.
    parts: makes the parts of the report, and knows which ones failed.
  """

  title: str
  roles: EvaluationConfig
  tables: Tables
  dataset: dict[str, Any]
  evaluated_on: str
  mask: dict[str, Any]
  parameters: dict[str, int]
  config: dict[str, Any]
  environment: dict[str, Any]
  seeds: tuple[int, ...]
  histories: Histories = dataclasses.field(default_factory=dict)
  given: dict[str, GivenStage] = dataclasses.field(default_factory=dict)
  seconds: dict[str, float] = dataclasses.field(default_factory=dict)
  budgets: dict[str, Budget] = dataclasses.field(default_factory=dict)
  audits: Histories = dataclasses.field(default_factory=dict)
  mask_image: np.ndarray | None = None
  comparison_images: dict[str, np.ndarray] | None = None
  comparison_range: float | None = None
  slices: Sequence[ShownSlice] = ()
  attention: Attention | None = None
  snr: Measured | None = None
  timing: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  robustness: dict[str, Tables] = dataclasses.field(default_factory=dict)
  multiplications: dict[str, int] = dataclasses.field(default_factory=dict)
  parts: Parts = dataclasses.field(default_factory=Parts)

  @property
  def epochs(self) -> dict[str, list[list[dict]]]:
    """Stage -> for each seed the lines of its epochs; omits those without any."""
    return events(self.histories, "epoch")

  @property
  def unit(self) -> str:
    """The unit of the evaluated data: "subject", "file", "slab of one head"."""
    return unit_of_tested(self.dataset)

  @property
  def once(self) -> frozenset[str]:
    """The given stages that are one training, although the run has several seeds."""
    several = len(self.seeds) > 1
    return frozenset(k for k, each in self.given.items() if several and each.once)

  @property
  def of_seed(self) -> str:
    """The seed of the pictures, where there are several seeds."""
    if len(self.seeds) == 1:
      return ""
    return f", reconstructed with the weights of seed {self.seeds[0]}"
