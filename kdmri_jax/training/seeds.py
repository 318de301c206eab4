"""Trains an experiment with one seed or with several, side by side."""

import concurrent.futures
import functools
from collections.abc import Sequence

import jax
from absl import logging

from kdmri_jax.errors import UserError
from kdmri_jax.ops import native
from kdmri_jax.training import interrupt, processes, stage_loop, trackers
from kdmri_jax.training.experiment import Experiment


def train(
  pipeline: Experiment, names: Sequence[str], chosen: Sequence[int] | None = None
) -> list[Experiment]:
  """Trains the named stages with every seed of the experiment, or with some.

  With several seeds and several devices each device trains one seed, so that no device
  waits for another. Where the remaining seeds would leave half of the devices idle,
  each uses all devices, one after the other; so do all seeds if `config.devices` sets
  the number of devices, or several processes train together. A seed's results equal,
  to rounding, those of a run of that seed alone.

  Args:
    pipeline: the experiment, with its first seed.
    names: stages to train where they are not finished.
    chosen: the seeds; None for all.

  Returns:
    One experiment per seed.

  Raises:
    UserError: see `Experiment.claim`; or see `stage_loop.train`: the other seeds are
      then trained to their end.
    Interrupted: a signal stopped it; all states were saved.
  """
  config = pipeline.config
  seeds = range(config.seed, config.seed + config.seeds) if chosen is None else chosen
  pipelines = [pipeline.for_seed(seed) for seed in seeds]
  for each in pipelines:
    each.claim(names)
  pending = [each for each in pipelines if not all(map(each.is_finished, names))]
  local = jax.local_devices()
  may_divide = config.devices == 0 and processes.count() == 1
  beside, in_turn = divide(pending, len(local) if may_divide else 1)
  if pending:
    processes.of_first(lambda: _open_trackers(pending))
  with interrupt.caught() as signal:
    train_one = functools.partial(_train_one, names, signal)
    found = _train_beside(train_one, beside, local) if beside else []
    if in_turn:
      _say(len(pipeline.devices), local[0].platform)
    found += map(train_one, in_turn)
  if errors := [error for error in found if error]:
    raise errors[0]
  return pipelines


def _open_trackers(pending: Sequence[Experiment]) -> None:
  opened = trackers.open_all(pending[0].workdir.path, pending[0].config)
  for each in pending:
    each.trackers = opened


def _train_one(
  names: Sequence[str], signal: interrupt.Interrupt, experiment: Experiment
) -> UserError | None:
  """Trains the missing stages of one seed; returns the error that ended it."""
  try:
    for name in experiment.config.pipeline:
      if name in names and not experiment.is_finished(name):
        stage_loop.train(experiment, name, signal)
  except UserError as error:
    return error
  return None


def divide(seeds: Sequence, devices: int) -> tuple[Sequence, Sequence]:
  """The seeds that train side by side, and those that use all devices in turn."""
  workers = min(devices, len(seeds))
  if workers < 2:
    return [], seeds
  rest = len(seeds) % workers
  beside = len(seeds) - (rest if 2 * rest <= workers else 0)
  return seeds[:beside], seeds[beside:]


def _train_beside(train_one, pipelines, devices) -> list[UserError | None]:
  """Trains each seed on one device."""
  free = list(devices[: len(pipelines)])
  _say(len(free), free[0].platform, [each.seed for each in pipelines])

  def work(each: Experiment) -> UserError | None:
    device = free.pop()
    try:
      with jax.default_device(device):
        return train_one(each.for_seed(each.seed, [device]))
    finally:
      free.append(device)

  with concurrent.futures.ThreadPoolExecutor(len(free)) as pool:
    return list(pool.map(work, pipelines))


def _say(devices: int, platform: str, seeds: Sequence[int] = ()) -> None:
  beside = f", seeds {', '.join(map(str, seeds))} side by side" if seeds else ""
  logging.info("training on %d %s device(s)%s", devices, platform, beside)
  if platform == "cpu" and native.instructions() is None:
    logging.warning(
      "XLA computes all convolutions, which takes about twice as long on a CPU: "
      "install the package again where there is a C++ compiler (g++ or clang)"
    )
