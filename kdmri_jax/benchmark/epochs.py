"""Times of whole trainings: epochs, of one seed and of several, and a protocol.

They include loading, validation, the log and checkpoints, unlike the time of a step. A
protocol is all epochs of all stages; it also includes compilation and the teachers'
outputs.
"""

import copy
import time
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.benchmark.table import markdown
from kdmri_jax.benchmark.worker import Worker, running

_EPOCHS = 4  # of which the first, with the compilation, is omitted
_SUBJECTS, _TO_TRAIN = 10, 8  # the others validate
_SLICES, _SLICES_OF_PROTOCOL = 4, 30  # of each


class Epochs(NamedTuple):
  """Seconds of the epochs of a stage, for each number of seeds.

  Attributes:
    stage: its name.
    steps: optimiser steps per epoch.
    seconds: number of seeds -> seconds, for all of them, of each epoch.
  """

  stage: str
  steps: int
  seconds: dict[int, list[float]]


class Protocol(NamedTuple):
  """Seconds of a protocol: all epochs of all stages, one after the other.

  Attributes:
    stages: stage -> seconds of each epoch, of which the first compiles.
    seconds: in all, from the start of Python to the last checkpoint.
  """

  stages: dict[str, list[float]]
  seconds: float


def measure(
  config: dict, stages: list[str], size: tuple[int, int], seeds: int = 0
) -> list[Epochs]:
  """Trains on phantoms with one seed, then with several, each in its own process.

  Args:
    config: the experiment, in the form of `config.to_dict`; its data are not used.
    stages: the stages to train, teachers first.
    size: rows and columns of the phantoms.
    seeds: number of seeds side by side the second time; 0 for one per device. With one
      device there is no second time.

  Raises:
    WorkerError: a training failed.
  """
  changed = _on_phantoms(config, size, _SLICES, _EPOCHS)
  changed |= {"audit_every": 0, "checkpoint_seconds": 1e6, "devices": 0}
  found = {1: _train(changed | {"seeds": 1}, stages)}
  seeds = seeds or found[1]["devices"]
  if seeds > 1:
    found[seeds] = _train(changed | {"seeds": seeds}, stages)
  steps = -(-_TO_TRAIN * _SLICES // config["batch_size"])
  return [
    Epochs(stage, steps, {count: each[stage][1:] for count, each in found.items()})
    for stage in stages
  ]


def run_protocol(
  config: dict,
  stages: list[str],
  size: tuple[int, int],
  epochs: int,
  **options: Any,
) -> Protocol:
  """Trains stages as an experiment does, on 240 phantoms, with 60 for validation.

  Args:
    config: as for `measure`; it sets how often audits and checkpoints come.
    stages: the stages to train, teachers first.
    size: rows and columns of the phantoms.
    epochs: of each stage.
    **options: of the `Worker`.

  Raises:
    WorkerError: a training failed.
  """
  changed = _on_phantoms(config, size, _SLICES_OF_PROTOCOL, epochs)
  start = time.perf_counter()
  found = _train(changed | {"seeds": 1}, stages, **options)
  return Protocol({k: found[k] for k in stages}, time.perf_counter() - start)


def _on_phantoms(config: dict, size: tuple[int, int], slices: int, epochs: int):
  changed = copy.deepcopy(config)
  changed["data"] |= {"source": "phantom", "crop": [0, 0], "slices_per_volume": 0}
  changed["data"] |= {"train": [], "validation": [], "test": [], "test_source": {}}
  changed["data"]["phantom"] |= {"subjects": _SUBJECTS, "slices": slices, "size": size}
  for stage in changed["stages"].values():
    stage["epochs"] = epochs
  return changed


def _train(config: dict, stages: list[str], **options: Any) -> dict[str, Any]:
  """Stage -> seconds of each epoch, and "devices"."""
  with running([Worker("jax", config, **options)]) as (worker,):
    devices = worker.receive()["devices"]
    worker.send(do="train", stages=stages)
    return worker.receive() | {"devices": devices}


def table(results: list[Epochs]) -> str:
  """Markdown: an epoch of one seed, and of several, in all and for each seed."""
  counts = list(results[0].seconds)
  heads = ["stage", "steps", "one seed, s"]
  if len(counts) > 1:
    heads += [f"{counts[1]} seeds side by side, s", "of one"]
  rows = []
  for result in results:
    middle = [float(np.median(seconds)) for seconds in result.seconds.values()]
    cells = [result.stage, str(result.steps), f"{middle[0]:.2f}"]
    if len(middle) > 1:
      cells += [f"{middle[1]:.2f}", f"{middle[1] / middle[0]:.2f}"]
    rows.append(cells)
  return markdown(heads, rows)


def table_of_protocol(protocol: Protocol) -> str:
  """Markdown: the first epoch of each stage, a later one, and all."""
  heads = ["stage", "epochs", "the first, s", "a later one, s", "all, s"]
  rows = []
  for stage, (first, *later) in protocol.stages.items():
    cells = [stage, f"{1 + len(later)}", f"{first:.2f}"]
    cells.append(f"{np.median(later):.3f}" if later else "")
    rows.append([*cells, f"{first + sum(later):.1f}"])
  everything = ["in all, with start and checkpoints", "", "", ""]
  return markdown(heads, [*rows, [*everything, f"{protocol.seconds:.1f}"]])
