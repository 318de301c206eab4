"""TensorBoard: event files in the folder of each stage, with tensorboardX."""

import contextlib
import io
import pathlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2
from tensorboardX.proto.summary_pb2 import Summary

from kdmri_jax import config as config_lib
from kdmri_jax import json_text
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.saving import make_folder, saving
from kdmri_jax.training.trackers import curves
from kdmri_jax.training.trackers.tracker import TrackedStage

_IMAGE = "validation slice"


class TensorBoardRun:
  """The stages of a run in TensorBoard: `tensorboard --logdir=WORKDIR` shows them.

  Args:
    workdir: not used: the files are in the folders of the stages.
    config: the experiment, which is shown as text, and as hyper-parameters.
  """

  def __init__(self, workdir: pathlib.Path, config: ExperimentConfig):
    del workdir
    self._config = config

  def stage(self, stage: TrackedStage) -> "TensorBoardStage":
    """Begins a new event file."""
    shown = TensorBoardStage(stage.folder / "tensorboard", stage.step)
    settings = curves.hyperparameters(self._config, stage.name, stage.seed)
    shown.describe(settings, config_lib.to_dict(self._config))
    return shown

  def finish(self, tables: Mapping[str, Any]) -> None:
    """Does nothing: the table is in the report."""


class TensorBoardStage:
  """An event file of a stage, written at once so that a full disk is noticed.

  Args:
    directory: the folder of the event files; created when missing.
    step: completed steps; TensorBoard drops later entries of earlier files.
  """

  def __init__(self, directory: pathlib.Path, step: int):
    self._directory = directory
    make_folder(directory)
    with saving(directory):
      # Its own ending, as a second start within a second would have the same name.
      self._writer = event_file_writer.EventsWriter(
        str(directory / "events"), f".{secrets.token_hex(8)}"
      )
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(step + 1, session_log=start)

  def describe(self, settings: Mapping[str, Any], config: dict[str, Any]) -> None:
    """Shows the hyper-parameters, and the whole config as text."""
    _, session, _ = summary.hparams(settings, {})
    self._write(0, summary=session)
    # Markdown shows indented lines as they are.
    lines = json_text.dumps(config, indent=2).splitlines()
    text = summary.text("config", "\n".join(f"    {line}" for line in lines))
    self._write(0, summary=text)

  def scalars(self, values: Mapping[str, float], step: int) -> None:
    """Adds a point to each curve."""
    points = [Summary.Value(tag=key, simple_value=v) for key, v in values.items()]
    self._write(step, summary=Summary(value=points))

  def image(self, picture: np.ndarray, step: int) -> None:
    """Shows the picture, pixel by pixel."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png", optimize=True)
    height, width = picture.shape
    shown = Summary.Image(
      height=height, width=width, colorspace=1, encoded_image_string=file.getvalue()
    )
    self._write(step, summary=Summary(value=[Summary.Value(tag=_IMAGE, image=shown)]))

  def _write(self, step: int, **content: Any) -> None:
    event = event_pb2.Event(step=step, wall_time=time.time(), **content)
    with saving(self._directory):
      self._writer.write_event(event)
      self._writer.flush()

  def close(self, finished: bool) -> None:
    """Closes the file; all entries are already on the disk."""
    del finished
    with contextlib.suppress(OSError):
      self._writer.close()
