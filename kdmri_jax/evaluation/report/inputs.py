"""What a report is made of."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.evaluation.tables import Tables


class Budget(NamedTuple):
  """What a network's weights took, the stages they started from included.

  Attributes:
    epochs: epochs.
    steps: optimiser steps.
    seconds: training time, mean over the seeds.
  """

  epochs: int
  steps: int
  seconds: float


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
      "simulated_kspace" is False only where the scanner's own k-space was used, and
      "notes" (a list of sentences) join the cautions.
    evaluated_on: split that was evaluated, "test" or "validation".
    mask: description of the mask.
    parameters: number of parameters of each network.
    teacher: model that bounds the gap from above.
    student: the unassisted student.
    distilled: models whose gain is asked for.
    control: the budget-matched student, "" for none.
    bootstrap: number of resamples.
    seed: seed of the resampling.
    config: the whole resolved configuration.
    environment: versions and devices.
    seeds: seeds of the trainings.
    published: model -> published (PSNR in dB, SSIM).
    published_source: where those stand.
    histories: stage -> for each seed the lines of its metrics.jsonl.
    seconds: stage -> its own training time, mean over the seeds.
    budgets: model -> what its weights took.
    audits: stage -> for each seed its audits, from `audits.collect`.
    mask_image: mask [H, W], zero frequency at [0, 0]; None leaves the picture out.
    comparison_images: name -> image [H, W] for `figures.comparison`, or None.
    comparison_range: range of their PSNR and SSIM; None takes the target's maximum.
    attention: name -> maps [K, H, W], the teacher's first, or None.
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
  published: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
  published_source: str = ""
  histories: dict[str, list[list[dict]]] = dataclasses.field(default_factory=dict)
  seconds: dict[str, float] = dataclasses.field(default_factory=dict)
  budgets: dict[str, Budget] = dataclasses.field(default_factory=dict)
  audits: dict[str, list[list[dict]]] = dataclasses.field(default_factory=dict)
  mask_image: np.ndarray | None = None
  comparison_images: dict[str, np.ndarray] | None = None
  comparison_range: float | None = None
  attention: dict[str, np.ndarray] | None = None
