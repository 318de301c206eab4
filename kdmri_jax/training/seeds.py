"""Trains an experiment with one seed or with several, side by side."""

import concurrent.futures
from collections.abc import Sequence

import jax
from absl import logging

from kdmri_jax.training import interrupt
from kdmri_jax.training.pipeline import Pipeline


def train(pipeline: Pipeline, names: Sequence[str]) -> list[Pipeline]:
  """Trains the named stages with every seed of the experiment.

  With several seeds and several devices each device trains a seed of its own, so that
  none waits for another; otherwise each seed in turn has all devices. A seed's results
  are, to rounding, those of a run of that seed alone.

  Args:
    pipeline: the experiment, with its first seed.
    names: stages to train where they are not finished.

  Returns:
    A pipeline for each seed.

  Raises:
    UserError: see `Pipeline.claim` and `stage.train`; the other seeds go on to their
      end.
    Interrupted: a signal stopped it; all states were saved.
  """
  config = pipeline.config
  seeds = [config.seed + k for k in range(config.seeds)]
  local = jax.local_devices()
  side_by_side = len(seeds) > 1 and len(local) > 1 and config.devices == 0
  workers = min(len(local), len(seeds)) if side_by_side else 1
  pipelines = [pipeline.for_seed(seed) for seed in seeds]
  for each in pipelines:
    each.claim(names)
  if not side_by_side:
    _say(len(pipeline.devices), pipeline.devices[0].platform)
    with interrupt.caught() as signal:
      for each in pipelines:
        each.train(names, signal, _label(each, seeds))
    return pipelines
  _say(workers, local[0].platform, seeds)
  waiting = list(range(workers))

  def work(each: Pipeline) -> None:
    row = waiting.pop()
    try:
      with jax.default_device(local[row]):
        each = each.for_seed(each.seed, [local[row]])
        each.train(names, signal, _label(each, seeds), row)
    finally:
      waiting.append(row)

  with (
    interrupt.caught() as signal,
    concurrent.futures.ThreadPoolExecutor(workers) as pool,
  ):
    for future in [pool.submit(work, each) for each in pipelines]:
      future.result()
  return pipelines


def _label(pipeline: Pipeline, seeds: Sequence[int]) -> str:
  return f"seed {pipeline.seed}: " if len(seeds) > 1 else ""


def _say(devices: int, platform: str, seeds: Sequence[int] = ()) -> None:
  beside = f", seeds {', '.join(map(str, seeds))} side by side" if seeds else ""
  logging.info("training on %d %s device(s)%s", devices, platform, beside)
