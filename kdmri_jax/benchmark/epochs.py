"""Whole epochs of the training pipeline, of one seed and of several side by side.

What the steps alone do not show: loading, validation, the log, checkpoints.
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax import config as config_lib
from kdmri_jax import memory
from kdmri_jax.benchmark.worker import WorkerError

_EPOCHS = 4  # of which the first, with the compilation, is left out
_SUBJECTS, _SLICES = 10, 4
_IMAGES = 32  # to train on: the slices of 8 subjects; 8 slices validate


class Epochs(NamedTuple):
  """Seconds of the epochs of a stage, for each number of seeds.

  Attributes:
    stage: its name.
    steps: optimiser steps an epoch.
    seconds: number of seeds -> seconds, for all of them, of each epoch.
  """

  stage: str
  steps: int
  seconds: dict[int, list[float]]


def measure(
  config: dict, stages: list[str], size: tuple[int, int], seeds: int
) -> list[Epochs]:
  """Trains phantoms with one seed, then with several, each in a process of its own.

  Args:
    config: the experiment, in the form of `config.to_dict`; its data are not used.
    stages: the stages to train, those that teach them first.
    size: rows and columns of the phantoms.
    seeds: how many train side by side the second time.

  Raises:
    WorkerError: a training failed.
  """
  changed = copy.deepcopy(config)
  changed |= {"audit_every": 0, "checkpoint_seconds": 1e6}
  changed["data"] |= {"source": "phantom", "crop": [0, 0], "slices_per_volume": 0}
  changed["data"] |= {"train": [], "validation": [], "test": []}
  changed["data"]["phantom"] |= {"subjects": _SUBJECTS, "slices": _SLICES, "size": size}
  for stage in changed["stages"].values():
    stage["epochs"] = _EPOCHS
  alone, beside = (_train(changed | {"seeds": n}, stages) for n in (1, seeds))
  steps = -(-_IMAGES // config["batch_size"])
  return [
    Epochs(stage, steps, {1: alone[stage], seeds: beside[stage]}) for stage in stages
  ]


def _train(config: dict, stages: list[str]) -> dict[str, list[float]]:
  done = subprocess.run(
    [sys.executable, "-m", "kdmri_jax.benchmark.epochs", *stages],
    input=json.dumps(config),
    capture_output=True,
    text=True,
  )
  if done.returncode:
    raise WorkerError(f"epochs: {done.stderr.strip().splitlines()[-1]}")
  return json.loads(done.stdout.splitlines()[-1])


def _main() -> None:
  """Reads a config, trains stages; writes stage -> seconds of each later epoch."""
  from kdmri_jax.training import parallel

  memory.keep_freed()
  parallel.use_cores()
  from kdmri_jax.training import log, seeds
  from kdmri_jax.training.pipeline import Pipeline

  config, stages = config_lib.parse(json.load(sys.stdin)), sys.argv[1:]
  with tempfile.TemporaryDirectory() as folder:
    pipelines = seeds.train(Pipeline(config, pathlib.Path(folder)), stages)
    found: dict[str, Any] = {}
    for stage in stages:
      logs = [log.read(p.workdir.stage(stage) / "metrics.jsonl") for p in pipelines]
      until = [[line["seconds"] for line in lines] for lines in logs]
      # Side by side the slowest seed counts.
      found[stage] = np.diff(until, axis=1).max(axis=0).tolist()
  print(json.dumps(found))


def table(results: list[Epochs]) -> str:
  """Markdown: an epoch of one seed, and of several, in all and for each seed."""
  counts = list(results[0].seconds)
  heads = ["stage", "steps", "one seed, s"]
  if len(counts) > 1:
    heads += [f"{counts[1]} seeds side by side, s", "of one"]
  lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
  for result in results:
    middle = [float(np.median(seconds)) for seconds in result.seconds.values()]
    cells = [result.stage, str(result.steps), f"{middle[0]:.2f}"]
    if len(middle) > 1:
      cells += [f"{middle[1]:.2f}", f"{middle[1] / middle[0]:.2f}"]
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines)


if __name__ == "__main__":
  _main()
