"""Checks before any training what the report will need after it."""

import dataclasses
import os
import shutil
from collections.abc import Mapping

import numpy as np

from kdmri_jax import scratch
from kdmri_jax.data.slice_set import SliceSet
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.metrics import METRICS, OPTIONAL, Metric, quality
from kdmri_jax.report import folder, results, robustness, roi_snr
from kdmri_jax.saving import make_folder, saving
from kdmri_jax.training.experiment import Experiment


def check(pipeline: Experiment) -> None:
  """Refuses, before anything is trained, what the report would refuse afterwards.

  Raises:
    UserError: a metric is unknown or fails; an image cannot be measured, such as one
      smaller than a metric's window; regions of interest cannot be used; conditions
      of robustness cannot be measured; an earlier
      report cannot be replaced; or there is no room for the reconstructions.
  """
  evaluated, workdir = pipeline.dataset.test, pipeline.workdir.path
  metrics = results.metrics_of(pipeline).values()
  group = "test_source." if pipeline.config.data.test_source.source else ""
  _check_metrics(
    dict(zip(pipeline.config.evaluation.metrics, metrics, strict=True)),
    evaluated,
    f"--config.data.{group}crop",
  )
  roi_snr.check(pipeline.config.evaluation.rois, evaluated)
  robustness.check(pipeline)
  tasks = pipeline.config.all_tasks
  reports = [dataclasses.replace(pipeline.workdir, task=t).report for t in tasks]
  for path in (workdir / "targets", *reports):
    if os.path.lexists(path):
      make_folder(path)  # refuses a file, and a link that leads nowhere
      with saving(path), scratch.folder_in(path):
        pass
  for path in reports:
    folder.check(path)
  _check_space(pipeline)


def _check_space(pipeline: Experiment) -> None:
  """Refuses a disk without room for the reconstructions that are not yet there."""
  config, volumes = pipeline.config, pipeline.dataset.test.volumes
  workdir = pipeline.workdir.path.absolute()
  folder = next(path for path in (workdir, *workdir.parents) if path.is_dir())
  there = sum(path.stat().st_size for path in workdir.glob("**/*.h5"))
  images = sum(
    2 + config.seeds * len(config.of_task(task).evaluation.models)
    for task in config.all_tasks
  )
  needed = 4 * images * sum(int(np.prod(v.target.shape)) for v in volumes) - there
  with saving(folder):
    free = shutil.disk_usage(folder).free
  if free < needed:
    found = f"{free / 2**20:.0f} MB of free space"
    expected = f"{needed / 2**20:.0f} MB or more, for the reconstructions alone"
    remedy = "Free space, or choose another folder."
    raise UserError(folder, found, expected, remedy)


def _check_metrics(
  metrics: Mapping[str, Metric], evaluated: SliceSet, crop: str
) -> None:
  """Refuses images that cannot be measured; tries the user's metrics on each shape.

  Args:
    metrics: name or import path in the config -> metric.
    evaluated: the images.
    crop: the flag that sets their size.
  """
  tried, shipped = set(), {**METRICS, **OPTIONAL}
  own = {name: each for name, each in metrics.items() if name not in shipped}
  for volume in evaluated.volumes:
    target = np.abs(volume.target[:])
    height, width = target.shape[1:]
    largest = max(metric.window for metric in metrics.values())
    fitting = [name for name in metrics if metrics[name].window <= min(height, width)]
    if len(fitting) < len(metrics):
      windows = " and ".join(m.title for m in metrics.values() if m.window == largest)
      found = f"slices of {height}x{width} pixels"
      expected = f"at least {largest}x{largest}, the window of {windows}"
      size = f"({max(height, largest)},{max(width, largest)})"
      remedy = f"Pad all slices with zeros: {crop}={size}"
      if fitting:
        names = ",".join(map(repr, fitting)) + "," * (len(fitting) == 1)
        remedy += f"; or measure without: --config.evaluation.metrics=({names})"
      raise UserError(volume.file, found, expected, f"{remedy}.")
    with arguments_of(f"{volume.file}: "):
      target, _ = quality.checked(target, target, metrics)
    if target.shape[1:] not in tried:
      tried.add(target.shape[1:])
      _try_metrics(own, target[target.max(axis=(1, 2)).argmax()], volume.file)


def _try_metrics(metrics: Mapping[str, Metric], target: np.ndarray, file: str) -> None:
  for name, metric in metrics.items():
    try:
      quality.measure(target, 0.9 * target, {name: metric})
    except Exception as error:  # the metric is the user's own
      found = f"{name}, which fails for an image of {file} "
      found += f"({type(error).__name__}: {error})"
      expected = "a function (target, prediction), float64 [S, H, W], -> values [S]"
      where = "config.evaluation.metrics"
      raise UserError(where, found, expected, "See docs/adding.md.") from error
