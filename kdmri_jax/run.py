"""Trains an experiment and writes its report: `kdmri_jax.train`."""

import os
import pathlib
import runpy
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import logging

from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.config_flag import experiment_file
from kdmri_jax.errors import ArgumentError
from kdmri_jax.report import checks, write_reports
from kdmri_jax.training import parallel, seeds, trackers
from kdmri_jax.training.experiment import Experiment


def train(
  config: ExperimentConfig | Mapping[str, Any] | str | os.PathLike,
  workdir: str | os.PathLike,
  stages: Sequence[str] | str | None = None,
) -> list[write_reports.Report]:
  """Trains the stages of an experiment that are missing, and reports on all of them.

  An interrupted run continues when the same call is made again.

  On a CPU every core becomes a device of JAX. Their number is fixed when JAX is first
  used: in a notebook that has computed with JAX before, training uses the existing
  devices, and a warning says so. The results are the same to rounding.

  Args:
    config: the experiment: an `ml_collections.ConfigDict`, a dict, a parsed
      `ExperimentConfig`, the name of a shipped experiment, such as "demo" or
      "sft:acdc_small", or the path of a Python file with `get_config()`.
    workdir: folder for all output of the run; created when missing.
    stages: name or names of the stages to train; None for all.

  Returns:
    One report per task of the experiment; `print` shows table, result and path.

  Raises:
    UserError: bad settings, bad data, or a work directory of another experiment.
    Interrupted: a signal stopped it; its state was saved.
  """
  experiment = _parse(config)
  if not os.fspath(workdir):
    raise ArgumentError("workdir", "no folder", "a folder to write to")
  names = experiment.pipeline if stages is None else stages
  names = (names,) if isinstance(names, str) else tuple(names)
  if not names:
    expected = f"some of {', '.join(experiment.pipeline)}"
    raise ArgumentError("stages", "none", expected, "Leave it out to train them all.")
  trackers.check(experiment)
  _use_cores(at_least=experiment.devices)
  pipeline = Experiment(experiment, pathlib.Path(workdir))
  checks.check(pipeline)
  with pipeline.workdir.locked():
    reports = write_reports.write_reports(seeds.train(pipeline, names))
    tables = {report.task: (report.table, report.means) for report in reports}
    trackers.finish(pipeline.workdir.path, experiment, tables)
  return reports


def _parse(config) -> ExperimentConfig:
  if isinstance(config, ExperimentConfig):
    return config
  if isinstance(config, str | os.PathLike):
    name, *argument = os.fspath(config).split(":", 1)
    path = experiment_file(name)
    try:
      config = runpy.run_path(os.fspath(path))["get_config"](*argument)
    except (OSError, KeyError) as error:
      found = f"{os.fspath(config)!r} ({error})"
      expected = "a Python file with get_config()"
      raise ArgumentError("config", found, expected) from error
  return config_lib.parse(config)


def _use_cores(at_least: int) -> None:
  try:
    parallel.use_cores(at_least)
  except RuntimeError:  # JAX has been used, and keeps its devices
    devices = jax.local_devices()
    if devices[0].platform == "cpu" and len(devices) < parallel.cores():
      logging.warning(
        "JAX was used before, so training has %d of %d CPU cores: to use all, restart "
        "Python and train first",
        *(len(devices), parallel.cores()),
      )
