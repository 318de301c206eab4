"""Trains an experiment and writes its report: `kdmri_jax.train`."""

import contextlib
import os
import pathlib
import runpy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
from absl import logging

from kdmri_jax import config as config_lib
from kdmri_jax.config import ExperimentConfig
from kdmri_jax.config_flag import experiment_file
from kdmri_jax.errors import ArgumentError
from kdmri_jax.report import checks
from kdmri_jax.training import parallel, processes, trackers
from kdmri_jax.training import seeds as seeds_lib
from kdmri_jax.training.experiment import Experiment

if TYPE_CHECKING:
  from kdmri_jax.report.write_reports import Report


def train(
  config: ExperimentConfig | Mapping[str, Any] | str | os.PathLike,
  workdir: str | os.PathLike,
  stages: Sequence[str] | str | None = None,
  seeds: Sequence[int] | None = None,
) -> "list[Report]":
  """Trains the stages of an experiment that are missing, and reports on all of them.

  An interrupted run continues when the same call is made again.

  On a CPU every core becomes a device of JAX. Their number is fixed when JAX is first
  used: in a notebook that has computed with JAX before, training uses the existing
  devices, and a warning says so. The results are the same to rounding.

  Several processes train together where each calls `jax.distributed.initialize` before,
  then this function with the same arguments. The first one writes the report, which all
  of them return.

  Args:
    config: the experiment: an `ml_collections.ConfigDict`, a dict, a parsed
      `ExperimentConfig`, the name of a shipped experiment, such as "demo" or
      "sft:acdc_small", or the path of a Python file with `get_config()`.
    workdir: folder for all output of the run; created when missing.
    stages: name or names of the stages to train; None for all.
    seeds: those of the experiment's seeds to train; None for all. Several calls may
      train different seeds in one work directory at the same time. They write no
      report, which is left to a call for all seeds.

  Returns:
    One report per task of the experiment; `print` shows table, result and path. None
    where `seeds` are chosen.

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
  all_seeds = range(experiment.seed, experiment.seed + experiment.seeds)
  if seeds is not None and not (seeds and {*seeds} <= {*all_seeds}):
    found = ", ".join(map(str, seeds)) or "none"
    expected = f"some of {', '.join(map(str, all_seeds))}"
    remedy = "They are config.seed and those after it, config.seeds in all."
    raise ArgumentError("seeds", found, expected, remedy)
  trackers.check(experiment)
  _use_cores(at_least=experiment.devices)
  processes.open_connections()
  pipeline = processes.in_all(lambda: Experiment(experiment, pathlib.Path(workdir)))
  processes.of_first(lambda: checks.check(pipeline))
  processes.open_connections(pipeline.devices)
  with contextlib.ExitStack() as stack:
    stack.enter_context(processes.connected())
    processes.of_first(lambda: stack.enter_context(pipeline.workdir.locked(seeds)))
    trained = seeds_lib.train(pipeline, names, seeds)
    if seeds is not None:
      return []
    return processes.of_first(lambda: _report(trained))


def _report(trained: Sequence[Experiment]) -> "list[Report]":
  from kdmri_jax.report import write_reports  # with all that draws figures

  reports = write_reports.write_reports(trained)
  tables = {report.task: (report.table, report.means) for report in reports}
  trackers.finish(trained[0].workdir.path, trained[0].config, tables)
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
