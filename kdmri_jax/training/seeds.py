"""Trains an experiment with one seed or with several, side by side."""

import concurrent.futures
from collections.abc import Sequence

import jax
from absl import logging

from kdmri_jax.errors import UserError
from kdmri_jax.ops import native
from kdmri_jax.training import interrupt
from kdmri_jax.training.experiment import Experiment


def train(pipeline: Experiment, names: Sequence[str]) -> list[Experiment]:
  """Trains the named stages with every seed of the experiment.

  With several seeds and several devices each device trains one seed, so that no device
  waits for another. Where the remaining seeds would leave half of the devices idle,
  each uses all devices, one after the other; so do all seeds if `config.devices` sets
  the number of devices. A seed's results equal, to rounding, those of a run of that
  seed alone.

  Args:
    pipeline: the experiment, with its first seed.
    names: stages to train where they are not finished.

  Returns:
    One experiment per seed.

  Raises:
    UserError: see `Experiment.claim`; or see `stage_loop.train`: the other seeds are
      then trained to their end.
    Interrupted: a signal stopped it; all states were saved.
  """
  config = pipeline.config
  seeds = [config.seed + k for k in range(config.seeds)]
  pipelines = [pipeline.for_seed(seed) for seed in seeds]
  for each in pipelines:
    each.claim(names)
  pending = [each for each in pipelines if not all(map(each.is_finished, names))]
  local = jax.local_devices()
  beside, in_turn = divide(pending, len(local) if config.devices == 0 else 1)
  errors = []
  with interrupt.caught() as signal:
    if beside:
      errors += _train_beside(beside, names, signal, local)
    if in_turn:
      _say(len(pipeline.devices), local[0].platform)
    for each in in_turn:
      try:
        each.train(names, signal)
      except UserError as error:
        errors.append(error)
  if errors:
    raise errors[0]
  return pipelines


def divide(seeds: Sequence, devices: int) -> tuple[Sequence, Sequence]:
  """The seeds that train side by side, and those that use all devices in turn."""
  workers = min(devices, len(seeds))
  if workers < 2:
    return [], seeds
  rest = len(seeds) % workers
  beside = len(seeds) - (rest if 2 * rest <= workers else 0)
  return seeds[:beside], seeds[beside:]


def _train_beside(pipelines, names, signal, local) -> list[UserError]:
  """Trains each seed on one device; returns the errors of failed seeds."""
  workers = min(len(local), len(pipelines))
  _say(workers, local[0].platform, [each.seed for each in pipelines])
  waiting = list(range(workers))

  def work(each: Experiment) -> None:
    row = waiting.pop()
    try:
      with jax.default_device(local[row]):
        each.for_seed(each.seed, [local[row]]).train(names, signal)
    finally:
      waiting.append(row)

  errors = []
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    for future in [pool.submit(work, each) for each in pipelines]:
      try:
        future.result()
      except UserError as error:
        errors.append(error)
  return errors


def _say(devices: int, platform: str, seeds: Sequence[int] = ()) -> None:
  beside = f", seeds {', '.join(map(str, seeds))} side by side" if seeds else ""
  logging.info("training on %d %s device(s)%s", devices, platform, beside)
  if platform == "cpu" and native.instructions() is None:
    logging.warning(
      "XLA computes all convolutions, which takes about twice as long on a CPU: "
      "install the package again where there is a C++ compiler (g++ or clang)"
    )
