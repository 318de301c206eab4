"""The inputs of a report."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.report.roi_snr import Measured
from kdmri_jax.report.tables import Tables


class Budget(NamedTuple):
  """The training cost of a network's weights, including the stages they started from.

  Attributes:
    epochs: epochs.
    steps: optimiser steps; None where the record of a stage is missing.
    seconds: training time, mean over the seeds; None likewise.
    given: whether the network was not trained in this run.
  """

  epochs: int
  steps: int | None
  seconds: float | None
  given: bool = False


class Attention(NamedTuple):
  """Attention maps of one slice, and their layers.

  Attributes:
    maps: name -> maps [K, H, W], one map for each of K layers, the teacher's first.
    stage: the stage whose attention transfer compares these layers.
    hint: the teacher's layers.
    guided: the other networks' layers.
    taught: the networks that were trained to match the teacher's maps there.
  """

  maps: dict[str, np.ndarray]
  stage: str
  hint: tuple[str, ...]
  guided: tuple[str, ...]
  taught: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ReportInput:
  """All inputs of a report.

  Models may be missing if only a part of an experiment was trained; the report then
  covers the existing ones.

  Attributes:
    title: name of the experiment.
    protocol: key of `PROTOCOLS` that the tables show.
    tables: metrics of all models under all protocols.
    dataset: record of the data: source, subjects of each split, scaling, crop; "unit"
      names what its subjects are ("subject", "file"), "simulated_kspace" is False only
      where the scanner's own k-space was used, and "notes" (a list of sentences) join
      the cautions.
    evaluated_on: split that was evaluated, "test" or "validation".
    mask: description of the mask.
    parameters: number of parameters of each network.
    teacher: model that bounds the gap from above.
    student: the unassisted student.
    distilled: models whose gain is estimated.
    control: the budget-matched student, "" for none.
    pairs: further comparisons (a, b), the gain of a over b.
    bootstrap: number of resamples.
    seed: seed of the resampling.
    config: the whole resolved configuration.
    environment: versions and devices.
    seeds: seeds of the trainings.
    published: model -> published (PSNR in dB, SSIM), or PSNR alone.
    published_source: their source.
    histories: stage -> for each seed the lines of its metrics.jsonl.
    given: stage that was not trained in this run -> its origin.
    seconds: stage -> its own training time, mean over the seeds.
    budgets: model -> training cost of its weights.
    audits: stage -> for each seed its audits, from `audits.collect`.
    mask_image: mask [H, W], zero frequency at [0, 0]; None for no picture.
    comparison_images: name -> image [H, W] for `figures.comparison`, or None.
    comparison_range: range of their PSNR and SSIM; None takes the target's maximum.
    attention: maps of the slice shown, or None.
    snr: signal-to-noise ratio in regions, or None.
    timing: model -> seconds of each repetition; {} where none was measured.
  """

  title: str
  protocol: str
  tables: Tables
  dataset: dict[str, Any]
  evaluated_on: str
  mask: dict[str, Any]
  parameters: dict[str, int]
  teacher: str
  student: str
  distilled: tuple[str, ...]
  control: str
  bootstrap: int
  seed: int
  config: dict[str, Any]
  environment: dict[str, Any]
  seeds: tuple[int, ...]
  pairs: tuple[tuple[str, str], ...] = ()
  published: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
  published_source: str = ""
  histories: dict[str, list[list[dict]]] = dataclasses.field(default_factory=dict)
  given: dict[str, str] = dataclasses.field(default_factory=dict)
  seconds: dict[str, float] = dataclasses.field(default_factory=dict)
  budgets: dict[str, Budget] = dataclasses.field(default_factory=dict)
  audits: dict[str, list[list[dict]]] = dataclasses.field(default_factory=dict)
  mask_image: np.ndarray | None = None
  comparison_images: dict[str, np.ndarray] | None = None
  comparison_range: float | None = None
  attention: Attention | None = None
  snr: Measured | None = None
  timing: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

  @property
  def unit(self) -> str:
    """The unit of the data: "subject", "file", "slab of one head"."""
    return self.dataset["unit"]

  @property
  def of_seed(self) -> str:
    """The seed of the pictures, where there are several seeds."""
    several = len(self.seeds) > 1
    return (
      f", reconstructed with the weights of seed {self.seeds[0]}" if several else ""
    )
