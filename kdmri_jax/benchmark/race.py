"""Frameworks take turns, so that other load on the machine affects all of them."""

import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax import json_text
from kdmri_jax.benchmark import case as case_lib
from kdmri_jax.benchmark import machine
from kdmri_jax.benchmark.case import Case
from kdmri_jax.benchmark.worker import Worker, WorkerError

# Tolerances between two frameworks: of images, about 1, and of losses, relative, after
# a step of Adam; larger where products are less precise.
_TOLERANCE = {"inference": 1e-4, "training": 1e-3}
_ROUGH = 0.05


class Result(NamedTuple):
  """The measurements of one case.

  Attributes:
    case: the timed case.
    operations: floating-point operations of plain convolutions, of the network that is
      trained or used; in training three times as many as forward.
    traffic: bytes that they read and write, in training three times as many.
    seconds: runner -> seconds per call, one value per repetition; repetition k of all
      runners was timed in turn.
    compile_seconds: runner -> seconds until its first result.
    peak_bytes: runner -> memory that a call needs; None where it is not known.
    failed: runner or worker -> why it has no times.
  """

  case: Case
  operations: int
  traffic: int
  seconds: dict[str, list[float]]
  compile_seconds: dict[str, float]
  peak_bytes: dict[str, int | None]
  failed: dict[str, str]

  def machine(self) -> dict[str, float]:
    """The machine's own speed while the case was timed, medians.

    "operations" of a matrix product and "bytes" copied, per second.
    """
    return {
      "operations": machine.OPERATIONS / float(np.median(self.seconds["matmul"])),
      "bytes": machine.BYTES / float(np.median(self.seconds["copy"])),
    }


def run(
  workers: Sequence[Worker],
  case: Case,
  *,
  repeats: int,
  seconds: float,
  say: Callable[[str], Any],
) -> Result:
  """Times one case in all frameworks.

  Args:
    workers: JAX's first.
    case: the case to time.
    repeats: number of rounds; in each, every runner has its turn.
    seconds: shortest time of a turn; shorter calls are repeated.
    say: receives messages on the progress.

  Raises:
    WorkerError: JAX itself failed.
  """
  compile_seconds, failed, racing, left = {}, {}, [], set()
  tolerance = _TOLERANCE[case.what] if case.precision in ("", "float32") else _ROUGH

  def leave(worker, error):
    if worker is workers[0]:
      raise error
    left.add(worker)
    failed[worker.name] = str(error)

  def ask(racing, measure):
    """Measures in turn; one that fails leaves the race, and the others go on."""
    for worker, runner in racing:
      if worker not in left:
        try:
          measure(worker, runner)
        except WorkerError as error:
          leave(worker, error)

  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "problem.pickle")
    for worker in workers:
      say(f"{case.name}: {worker.name} compiles")
      try:
        prepared = worker.prepare(case, file)
      except WorkerError as error:
        leave(worker, error)
        continue
      for runner, about in prepared.items():
        compile_seconds[runner] = about["compile_seconds"]
        deviation = json_text.number(about["deviation"])
        if not deviation <= tolerance:  # nor NaN
          failed[runner] = f"its numbers deviate by {deviation:.2g}"
        else:
          racing.append((worker, runner))
    problem = case_lib.load(file)
  params = problem.params["student" if case.stage != "teacher" else "teacher"]
  peaks, calls = {}, {}
  every: dict[str, list[float]] = {runner: [] for _, runner in racing}
  ask(racing, lambda own, runner: peaks.update({runner: own.peak(runner)}))
  ask(racing, lambda own, runner: calls.update({runner: own.calls(runner, seconds)}))
  for k in range(repeats):
    say(f"{case.name}: round {k + 1} of {repeats}")
    turn = k % len(racing)
    ask(
      racing[turn:] + racing[:turn],
      lambda own, runner: every[runner].append(own.run(runner, calls[runner])),
    )
  times = 3 if case.what == "training" else 1  # forward, and two gradients
  stayed = [runner for worker, runner in racing if worker not in left]
  return Result(
    case,
    times * case_lib.operations(params, case),
    times * case_lib.traffic(params, case),
    {runner: every[runner] for runner in stayed},
    compile_seconds,
    {runner: peaks[runner] for runner in stayed},
    failed,
  )


def best(result: Result, prefix: str) -> str | None:
  """The fastest runner of a framework by its median; None where it has none."""
  runners = [runner for runner in result.seconds if runner.startswith(prefix)]
  return min(runners, key=lambda r: np.median(result.seconds[r]), default=None)


def ratio(result: Result, runner: str, reference: str) -> tuple[float, float, float]:
  """How many times as long `runner` takes as `reference`: median, lowest, highest.

  Ratios are taken round by round.
  """
  rounds = np.divide(result.seconds[runner], result.seconds[reference])
  return float(np.median(rounds)), float(rounds.min()), float(rounds.max())


def to_json(result: Result) -> Mapping[str, Any]:
  """All measurements, as JSON-compatible values."""
  return {
    **result._asdict(),
    "case": result.case._asdict(),
    "machine": result.machine(),
  }
