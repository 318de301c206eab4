"""Scaling of a training step over host devices, and over two processes.

Strong scaling divides one batch over more devices, weak scaling gives each device as
many images as before. The setups take turns as frameworks do (`race`); the losses of
their first steps must be those of one device.
"""

import pathlib
import socket
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.benchmark import case as case_lib
from kdmri_jax.benchmark.case import Case
from kdmri_jax.benchmark.table import markdown
from kdmri_jax.benchmark.worker import Worker, WorkerError, running

# Tolerance of a loss between one device and several; accelerators choose an algorithm.
_TOLERANCE, _ROUGH = 1e-5, 0.05
_PROCESSES = 2


class Setup(NamedTuple):
  """Devices that train together.

  Attributes:
    devices: of each process.
    processes: 1 or 2.
  """

  devices: int
  processes: int = 1

  @property
  def name(self) -> str:
    """The name in tables."""
    if self.processes > 1:
      return f"{self.processes} processes of {self.devices}"
    return f"{self.devices}"


class Scaling(NamedTuple):
  """The measurements.

  Attributes:
    setups: in the order of the rows.
    strong: setup -> seconds per step of the whole batch, one value per round.
    weak: setup -> seconds per step with a fixed number of images per device.
    images: images of the whole batch, and of each device in weak scaling.
    deviation: setup -> largest relative deviation of its losses from one device's.
  """

  setups: Sequence[Setup]
  strong: dict[str, list[float]]
  weak: dict[str, list[float]]
  images: tuple[int, int]
  deviation: dict[str, float]


def measure(
  config: dict,
  stage: str,
  size: tuple[int, int],
  *,
  repeats: int,
  say: Callable[[str], Any],
  most: int = 8,
  each: int = 2,
) -> Scaling:
  """Times a stage's step on 1, 2, 4 .. devices, and on two processes of one each.

  On a CPU the devices are host devices. On GPUs their number is limited by the machine,
  and each setup is one process. One process owns a TPU, so setups cannot take turns.

  Args:
    config: the experiment, in the form of `config.to_dict`.
    stage: the stage whose step is timed.
    size: rows and columns.
    repeats: number of rounds.
    say: receives messages on the progress.
    most: largest number of devices, a power of 2; also the images of the whole batch.
    each: images of each device in weak scaling.

  Raises:
    WorkerError: a process failed, the losses differ, or it is a TPU.
  """
  setups, tolerance = _setups(config, most)
  results: dict[str, dict[str, list[float]]] = {"strong": {}, "weak": {}}
  deviation: dict[str, float] = {}
  teams = [_team(setup, config) for setup in setups]
  with running([worker for team in teams for worker in team]):
    for team in teams:
      _receive(team)
      if len(team) > 1:
        _ask(team, do="connect")
    for kind, times in results.items():
      reference = None
      for setup, team in zip(setups, teams, strict=True):
        whole = most if kind == "strong" else each * setup.devices * setup.processes
        say(f"{kind} scaling, devices: {setup.name}, {whole} images")
        losses = _prepare(team, Case("training", stage, *size, whole))
        times[setup.name] = []
        if kind == "strong":
          reference = losses if reference is None else reference
          apart = float(np.abs(losses / reference - 1).max())
          deviation[setup.name] = apart
          if apart > tolerance:
            raise WorkerError(f"devices: {setup.name}: losses deviate by {apart:.2g}")
      for k in range(repeats):
        say(f"{kind} scaling, round {k + 1} of {repeats}")
        for setup, team in zip(setups, teams, strict=True):
          answers = _ask(team, do="run", runner="jax", calls=1)
          times[setup.name].append(max(answer["seconds"] for answer in answers))
  return Scaling(setups, results["strong"], results["weak"], (most, each), deviation)


def _setups(config: dict, most: int) -> tuple[list[Setup], float]:
  """The setups for this machine, and the tolerance of their losses."""
  with running([Worker("jax", config)]) as (worker,):
    machine = worker.receive()
  counts = [2**k for k in range(most.bit_length())]
  if machine["platform"] == "tpu":
    raise WorkerError("scaling needs several processes, and a TPU serves only one")
  if machine["platform"] == "cpu":
    return [Setup(count) for count in counts] + [Setup(1, _PROCESSES)], _TOLERANCE
  return [Setup(count) for count in counts if count <= machine["devices"]], _ROUGH


def _team(setup: Setup, config: dict) -> list[Worker]:
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}" if setup.processes > 1 else ""
  return [
    Worker("jax", config, devices=setup.devices, address=address, process=k)
    for k in range(setup.processes)
  ]


def _receive(team: Sequence[Worker]) -> list[dict]:
  return [worker.receive() for worker in team]


def _ask(team: Sequence[Worker], **request: Any) -> list[dict]:
  """The answers of all processes of a team, which work at the same time."""
  for worker in team:
    worker.send(**request)
  return _receive(team)


def _prepare(team: Sequence[Worker], case: Case) -> np.ndarray:
  """Compiles a case in all processes of a team; the losses of its first steps."""
  with tempfile.TemporaryDirectory() as folder:
    files = [pathlib.Path(folder, f"{k}.pickle") for k in range(len(team))]
    for worker, file in zip(team, files, strict=True):
      worker.send(do="prepare", case=case._asdict(), file=str(file))
    _receive(team)
    return case_lib.load(files[0]).expected


def table(scaling: Scaling) -> str:
  """Both kinds as Markdown.

  Strong: milliseconds per step and the speed relative to one device. Weak: milliseconds
    per step and images per second, relative to one device.
  """
  whole, each = scaling.images
  heads = ["devices", f"{whole} images, ms", "speed-up"]
  heads += [f"{each} per device, ms", "throughput", "deviation"]
  rows = []
  first = scaling.setups[0].name
  for setup in scaling.setups:
    strong, weak = scaling.strong[setup.name], scaling.weak[setup.name]
    faster = np.median(np.divide(scaling.strong[first], strong))
    count = setup.devices * setup.processes
    more = count * np.median(np.divide(scaling.weak[first], weak))
    times = [f"{1e3 * np.median(seconds):.0f}" for seconds in (strong, weak)]
    cells = [setup.name, times[0], f"{faster:.2f}", times[1], f"{more:.2f}"]
    rows.append([*cells, f"{scaling.deviation[setup.name]:.1g}"])
  return markdown(heads, rows)
