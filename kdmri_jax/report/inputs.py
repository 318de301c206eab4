"""What a report is made of."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.report.roi_snr import Measured
from kdmri_jax.report.tables import Tables


class Budget(NamedTuple):
  """What a network's weights took, the stages they started from included.

  Attributes:
    epochs: epochs.
    steps: optimiser steps; None where the record of a stage is gone.
    seconds: training time, mean over the seeds; None likewise.
    given: whether the network was not trained in this run.
  """

  epochs: int
  steps: int | None
  seconds: float | None
  given: bool = False


class Attention(NamedTuple):
  """Attention maps of one slice, and which layers they show.

  Attributes:
    maps: name -> maps [K, H, W], a map for each of K layers, the teacher's first.
    stage: the stage whose attention transfer compares these layers.
    hint: the teacher's layers.
    guided: the other networks' layers.
    taught: those of the networks that have been taught the teacher's maps there.
  """

  maps: dict[str, np.ndarray]
  stage: str
  hint: tuple[str, ...]
  guided: tuple[str, ...]
  taught: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ReportInput:
  """Everything that a report is made of.

  Models may be missing (an experiment of which only a part was trained); the report
  then says what there is.

  Attributes:
    title: name of the experiment.
    protocol: key of `metrics.PROTOCOLS`; the one that the tables show.
    tables: metrics of all models under all protocols.
    dataset: record of the data: source, subjects of each split, scaling, crop;
      "unit" says what its subjects are ("subject", "file"), "simulated_kspace" is
      False only where the scanner's own k-space was used, and "notes" (a list of
      sentences) join the cautions.
    evaluated_on: split that was evaluated, "test" or "validation".
    mask: description of the mask.
    parameters: number of parameters of each network.
    teacher: model that bounds the gap from above.
    student: the unassisted student.
    distilled: models whose gain is asked for.
    control: the budget-matched student, "" for none.
    pairs: further comparisons (a, b), the gain of a over b.
    bootstrap: number of resamples.
    seed: seed of the resampling.
    config: the whole resolved configuration.
    environment: versions and devices.
    seeds: seeds of the trainings.
    published: model -> published (PSNR in dB, SSIM), or PSNR alone.
    published_source: where those stand.
    histories: stage -> for each seed the lines of its metrics.jsonl.
    given: stage that was not trained in this run -> where it comes from.
    seconds: stage -> its own training time, mean over the seeds.
    budgets: model -> what its weights took.
    audits: stage -> for each seed its audits, from `audits.collect`.
    mask_image: mask [H, W], zero frequency at [0, 0]; None leaves the picture out.
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
    """What the subjects of the data are: "subject", "file", "slab of one head"."""
    return self.dataset["unit"]

  @property
  def of_seed(self) -> str:
    """Whose weights the pictures show, where there are several seeds."""
    several = len(self.seeds) > 1
    return (
      f", reconstructed with the weights of seed {self.seeds[0]}" if several else ""
    )
