"""What shows a training while it runs: one function opens it for a run.

A tracker is a function `open_run(workdir, config)` that returns a `RunTracker`; that
one opens a `StageTracker` for each stage of each seed.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from kdmri_jax.config import ExperimentConfig


class TrackedStage(NamedTuple):
  """A stage whose training begins or goes on.

  Attributes:
    folder: its folder.
    name: its name.
    seed: the seed of its weights.
    step: completed steps.
    past: the entries of its metrics.jsonl up to this step.
  """

  folder: pathlib.Path
  name: str
  seed: int
  step: int = 0
  past: Iterable[dict] = ()


class StageTracker(Protocol):
  """Shows one stage.

  Raises:
    UserError: nothing more can be written; raised by every method but `close`.
  """

  def scalars(self, values: Mapping[str, float], step: int) -> None:
    """Adds a point to each of some curves.

    Args:
      values: name of the curve -> value; from `curves.of_entry`.
      step: the number of the training step, from 1.
    """

  def image(self, picture: np.ndarray, step: int) -> None:
    """Shows a grey picture, uint8 [H, W], which has its captions in it."""

  def close(self, finished: bool) -> None:
    """Ends; `finished` tells whether the stage has been trained to its last epoch."""


class RunTracker(Protocol):
  """Shows the stages of a run and, at its end, the comparison."""

  def stage(self, stage: TrackedStage) -> StageTracker:
    """Opens a stage; its curves go on where it was trained before."""

  def finish(self, tables: Mapping[str, tuple[str, Mapping[str, Mapping]]]) -> None:
    """Shows the results.

    Args:
      tables: for each task the table as text, and its means: row -> metric -> value.
    """


OpenRun = Callable[[pathlib.Path, ExperimentConfig], RunTracker]
