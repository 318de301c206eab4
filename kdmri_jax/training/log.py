"""A stage's diary: JSON lines, TensorBoard and a progress bar."""

import json
import math
import pathlib
import sys

import numpy as np
import tensorboardX
import tqdm
from absl import logging

from kdmri_jax.training.checkpoint import saving


class StageLog:
  """Records one stage; what a lost part of an earlier run wrote is dropped.

  Args:
    directory: the stage's folder.
    name: the stage's name, for the progress bar.
    step: steps already done.
    total: steps of the whole stage.
  """

  def __init__(self, directory: pathlib.Path, name: str, step: int, total: int):
    self._name = name
    self._path = directory / "metrics.jsonl"
    kept = [line for line in read(self._path) if line["step"] <= step]
    with saving(self._path):
      partial = self._path.with_suffix(".partial")
      partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
      partial.replace(self._path)
      self._board = tensorboardX.SummaryWriter(
        str(directory / "tensorboard"), purge_step=step + 1 if step else None
      )
    self._bar = tqdm.tqdm(
      total=total,
      initial=step,
      desc=name,
      unit="step",
      dynamic_ncols=True,
      disable=None if sys.stderr.isatty() else True,
    )

  def advance(self, loss: float) -> None:
    """One more step is done."""
    self._bar.update()
    self._bar.set_postfix(loss=f"{loss:.3g}", refresh=False)

  def epoch(self, entry: dict) -> None:
    """Writes the line of an epoch: see `stage.py` for its keys."""
    with saving(self._path), self._path.open("a") as file:
      file.write(json.dumps(entry) + "\n")
    for group in ("train", "validation"):
      for key, value in entry[group].items():
        self._board.add_scalar(f"{group}/{key}", value, entry["step"])
    self._board.add_scalar("learning_rate", entry["learning_rate"], entry["step"])
    if self._bar.disable:
      logging.info(
        "%s epoch %d: train loss %.4g, validation %s, %.0f s",
        self._name,
        entry["epoch"],
        entry["train"]["loss"],
        ", ".join(f"{k} {v:.4g}" for k, v in entry["validation"].items()),
        entry["seconds"],
      )

  def images(self, panel: np.ndarray, step: int) -> None:
    """A grey picture [H, W] in 0..1, such as input | reconstruction | target."""
    self._board.add_image("validation", np.clip(panel, 0, 1)[None], step)

  def close(self) -> None:
    """Finishes the bar and flushes TensorBoard."""
    self._bar.close()
    self._board.close()


def read(path: pathlib.Path) -> list[dict]:
  """The lines of a metrics.jsonl; a line cut off by a crash is left out."""
  if not path.exists():
    return []
  lines = []
  for text in path.read_text().splitlines():
    try:
      lines.append(json.loads(text))
    except json.JSONDecodeError:
      break
  return lines


def psnr(mse: float) -> float:
  """PSNR in dB for a range of 1; for progress only, reports use their protocol."""
  return -10 * math.log10(max(mse, 1e-12))
