"""What is to be known of a GPU, in one command: the most valuable times come first.

Each item gives rows as soon as it is done, so a run that is killed loses nothing. A
process that ends is started again, one that does not answer is given up; the others go
on without it.
"""

import copy
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.benchmark import epochs, expected, kernels, race
from kdmri_jax.benchmark.case import Case
from kdmri_jax.benchmark.table import markdown
from kdmri_jax.benchmark.worker import Worker, WorkerError, running
from kdmri_jax.errors import ArgumentError
from kdmri_jax.ops.convolution import GPU

_AT_ONCE = 2, 4  # trainings on one GPU
_PATIENCE = 120.0  # seconds to wait for an answer; compilation takes the longest
_AFTER = 30.0  # seconds after the limit in which an item may end
_STARTS = 3  # of one worker


class Settings(NamedTuple):
  """What is timed.

  Attributes:
    config: the experiment, in the form of `config.to_dict`.
    size: rows and columns.
    batch: images per training step.
    images: images of an inference.
    repeats: rounds.
    seconds: shortest time of a turn.
    epochs: of each stage of a protocol that is extrapolated.
    all_epochs: of each stage of the whole protocol.
    precisions: of training steps, the first also of all else.
    torch: whether PyTorch takes part.
  """

  config: dict
  size: tuple[int, int] = (240, 240)
  batch: int = 4
  images: int = 8
  repeats: int = 5
  seconds: float = 0.3
  epochs: int = 3
  all_epochs: int = 150
  precisions: tuple[str, ...] = ("tensorfloat32", "bfloat16", "float32")
  torch: bool = True


class Row(NamedTuple):
  """One measured value, with its unit, beside the one expected on an H200."""

  what: str
  found: str
  expected: str = ""


def run(
  settings: Settings, limit: float, say: Callable[[str], Any]
) -> Iterator[list[Row]]:
  """Measures one item after the other, and gives the rows of each.

  Args:
    settings: what is timed.
    limit: seconds after which no further item begins; half a minute later all ends.
    say: receives messages on the progress.

  Raises:
    ArgumentError: the experiment has no stage "student" that is trained.
  """
  end = time.monotonic() + limit
  config = copy.deepcopy(settings.config)
  if "student" not in config["stages"]:
    found = f"an experiment with the stages {', '.join(config['stages'])}"
    raise ArgumentError("config", found, 'one with a stage "student"')
  for model in config["models"].values():
    model["precision"] = settings.precisions[0]
  settings = settings._replace(config=config)
  plain = {"exports": False, "patience": _PATIENCE}
  workers = [
    Worker("jax", config, environment={GPU: "xla"}, machine_too=True, **plain),
    Worker("jax", config, environment={GPU: "pallas"}, name=expected.PALLAS, **plain),
  ]
  if settings.torch:
    workers.append(Worker("torch", config, compiles=False, patience=_PATIENCE))
  with tempfile.TemporaryDirectory() as cache, running(workers):
    team = _Team(workers, end + _AFTER, pathlib.Path(cache))
    for reason in team.begin():
      yield [reason]
    whole = 0.0
    for name, item in _items(settings, team, say):
      if time.monotonic() > end:
        yield [Row(name, "no time was left")]
        continue
      say(name)
      try:
        rows, seconds = item()
      except WorkerError as error:
        rows, seconds = [Row(name, f"failed: {error}")], 0.0
      whole = seconds or whole
      yield rows
    if 0 < whole < end - time.monotonic():
      say("the whole protocol")
      try:
        yield _protocol(settings, settings.all_epochs, team)[0]
      except WorkerError as error:
        yield [Row("the whole protocol", f"failed: {error}")]


class _Team:
  """Processes that race: JAX with each code for convolutions, and PyTorch.

  Args:
    workers: JAX with XLA's convolutions first.
    end: when all must be done, on the monotonic clock.
    cache: a folder for compiled programs and decisions on convolutions, which all other
      processes share: each decides once.
  """

  def __init__(self, workers: Sequence[Worker], end: float, cache: pathlib.Path):
    self._workers, self._end = workers, end
    self.environment = {
      "JAX_ENABLE_COMPILATION_CACHE": "true",
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      "JAX_COMPILATION_CACHE_DIR": str(cache),
    }

  def left(self) -> float:
    """Seconds until the end, at least one."""
    return max(1.0, self._end - time.monotonic())

  def patience(self) -> float:
    """Seconds to wait for an answer."""
    return min(_PATIENCE, self.left())

  def begin(self) -> Iterator[Row]:
    """Waits for all starts; a row for each that failed."""
    for worker in self._workers:
      try:
        worker.receive()
      except WorkerError as error:
        yield Row(worker.name, f"failed: {error}")

  def ready(self) -> list[Worker]:
    """Those that can take part.

    Raises:
      WorkerError: JAX with XLA's convolutions, which the others need, cannot.
    """
    found = []
    for worker in self._workers:
      worker.patience = self.patience()
      try:
        if worker.ended():
          _start_again(worker)
        found.append(worker)
      except WorkerError:
        if worker is self._workers[0]:
          raise
    return found


def _start_again(worker):
  if worker.is_silent or worker.starts >= _STARTS:
    raise WorkerError(f"{worker.name}: given up after {worker.starts} starts")
  worker.start()
  worker.receive()


def table(rows: Sequence[Row]) -> str:
  """Markdown."""
  return markdown(["", "measured", "expected on an H200"], rows)


def _items(settings, team, say):
  """Names and functions that give rows, and the seconds of a whole protocol or 0."""
  stages = settings.config["stages"]

  def case(what, stage, precision):
    taught = bool(stages[stage]["teacher"])
    count = settings.batch if what == "training" else settings.images
    cached = what == "training" and taught
    return Case(what, stage, *settings.size, count, cached, precision)

  def timed(what, stage, precision):
    each = case(what, stage, precision)
    return f"{what}: {each.name}", lambda: (_race(settings, team, each, say), 0.0)

  def steps(precisions):
    for precision in precisions:
      for stage in ("student", "kd", "teacher"):
        if stage in stages:
          yield timed("training", stage, precision)

  first = settings.precisions[0]
  student = case("training", "student", first)
  yield from steps([first])
  yield timed("inference", "student", first)
  yield "start", lambda: (_starts(settings, student, team), 0.0)
  yield "protocol", lambda: _protocol(settings, settings.epochs, team)
  yield from steps(settings.precisions[1:2])
  yield "single convolutions", lambda: (_kernels(settings, team, say), 0.0)
  yield "several trainings", lambda: (_at_once(settings, student, team), 0.0)
  if "teacher" in stages:
    yield timed("inference", "teacher", first)
  yield from steps(settings.precisions[2:])


def _race(settings, team, case, say) -> list[Row]:
  workers = team.ready()
  result = race.run(
    workers, case, repeats=settings.repeats, seconds=settings.seconds, say=say
  )
  rows = []
  for runner, seconds in result.seconds.items():
    if runner not in ("matmul", "copy"):
      known = expected.STEPS if case.what == "training" else expected.INFERENCE
      theirs = known.get((case.stage, case.precision, runner), "")
      found = f"{1e3 * np.median(seconds):.2f} ms"
      rows.append(Row(f"{case.what}: {case.name}: {runner}", found, theirs))
      compiled = f"{result.compile_seconds[runner]:.1f} s"
      rows.append(Row("its compilation and first calls", compiled))
  rows += [Row(name, f"omitted: {why}") for name, why in result.failed.items()]
  for worker in workers:
    if not worker.ended():
      worker.send(do="most_memory")
      if most := worker.receive()["bytes"]:
        what = f"most memory until now: {worker.name}"
        rows.append(Row(what, f"{most / 1e6:.0f} MB"))
  return rows


def _starts(settings, case, team) -> list[Row]:
  """Two processes, one after the other: the second finds what the first compiled."""
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "problem.pickle")
    for which in ("first", "second"):
      start = time.perf_counter()
      worker = _worker(settings, team)
      with running([worker]):
        worker.receive()
        worker.prepare(case, file)
        seconds = time.perf_counter() - start
      what = f"{which} start of a process, to the end of its first dispatches"
      rows.append(Row(what, f"{seconds:.1f} s"))
  return rows


def _worker(settings, team) -> Worker:
  options = {"environment": team.environment, "patience": team.patience()}
  return Worker("jax", settings.config, **options, exports=False)


def _protocol(settings, count, team) -> tuple[list[Row], float]:
  """Rows, and the seconds of the whole protocol, reckoned from a part of it."""
  stages = [name for name, each in settings.config["stages"].items() if each["epochs"]]
  options = {"environment": team.environment, "patience": team.left()}
  found = epochs.run_protocol(settings.config, stages, settings.size, count, **options)
  rows, whole = [], found.seconds
  for stage, (first, *later) in found.stages.items():
    middle = float(np.median(later))
    whole += (settings.all_epochs - count) * middle
    what = f"protocol of {count} epochs: {stage}, the first epoch and a later one"
    rows.append(Row(what, f"{first:.2f} s, {middle:.3f} s"))
  rows.append(
    Row(f"protocol of {count} epochs, from the start", f"{found.seconds:.1f} s")
  )
  if count < settings.all_epochs:
    what = f"protocol of {settings.all_epochs} epochs, reckoned from that"
    rows.append(Row(what, f"{whole:.0f} s", expected.PROTOCOL))
  return rows, whole


def _kernels(settings, team, say) -> list[Row]:
  """Each operation by each code, in a process that is started again where it ends."""
  rows, images = [], (settings.batch, *settings.size)
  worker = _worker(settings, team)
  with running([worker]):
    worker.receive()
    for (what, *channels), both in expected.KERNELS.items():
      for way, theirs in zip(kernels.WAYS, both, strict=True):
        inputs, outputs = channels
        name = f"{inputs}->{outputs}, {what}, tensorfloat32: {way}"
        say(name)
        worker.patience = team.patience()
        try:
          if worker.ended():
            _start_again(worker)
          worker.send(do="kernel", way=way, what=what, channels=channels, images=images)
          seconds = worker.receive()["seconds"]
          rows.append(Row(name, f"{1e6 * seconds:.0f} us", theirs))
        except WorkerError as error:
          rows.append(Row(name, f"failed: {error}", theirs))
  return rows


def _at_once(settings, case, team) -> list[Row]:
  """Steps of several processes at once, as trainings of several seeds are."""
  workers = [_worker(settings, team) for _ in range(max(_AT_ONCE))]
  rows = []
  with running(workers), tempfile.TemporaryDirectory() as folder:
    for worker in workers:
      worker.receive()
    for k, worker in enumerate(workers):
      worker.prepare(case, pathlib.Path(folder, f"{k}.pickle"))
    calls = workers[0].calls("jax", settings.seconds)
    alone = workers[0].run("jax", calls)
    for count in _AT_ONCE:
      for worker in workers[:count]:
        worker.send(do="run", runner="jax", calls=calls)
      slowest = max(worker.receive()["seconds"] for worker in workers[:count])
      what = f"{count} trainings at once: a step of each, of one alone"
      in_turn = f"{count} in turn: {count}.00"
      rows.append(Row(what, f"{slowest / alone:.2f}", in_turn))
  return rows
