"""What is to be known of a GPU, in one command: the most valuable times come first.

Each item gives rows as soon as it is done, so a run that is killed loses nothing.
"""

import copy
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.benchmark import epochs, race
from kdmri_jax.benchmark.case import Case
from kdmri_jax.benchmark.table import markdown
from kdmri_jax.benchmark.worker import Worker, WorkerError, running
from kdmri_jax.ops.convolution import GPU

_PALLAS = "jax, Pallas"
_CACHED = {"JAX_ENABLE_COMPILATION_CACHE": "true"}
_CACHED["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
_AT_ONCE = 2, 4  # trainings on one GPU

# Of docs/performance.md: (stage, precision, runner) -> ms per step of 4 images of
# 240x240 on an H200; of Pallas predicted from bytes, the others measured once.
_EXPECTED = {
  ("student", "tensorfloat32", "jax"): "4.23",
  ("student", "tensorfloat32", _PALLAS): "1.4 to 3.0, predicted",
  ("student", "tensorfloat32", "torch"): "6.53",
  ("student", "tensorfloat32", "torch, channels last"): "6.58",
  ("kd", "tensorfloat32", "jax"): "4.27",
  ("kd", "tensorfloat32", _PALLAS): "1.4 to 3.0, predicted",
  ("teacher", "tensorfloat32", "jax"): "7.80",
  ("teacher", "tensorfloat32", "torch"): "13.2",
  ("teacher", "tensorfloat32", "torch, channels last"): "12.3",
  ("student", "bfloat16", "jax"): "2.86",
  ("student", "bfloat16", _PALLAS): "1.0 to 1.6, predicted",
  ("student", "float32", "jax"): "7.40",
}
_EXPECTED_PROTOCOL = "184 from the steps"


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
    limit: seconds after which no further item begins.
    say: receives messages on the progress.
  """
  start = time.monotonic()
  config = copy.deepcopy(settings.config)
  for model in config["models"].values():
    model["precision"] = settings.precisions[0]
  settings = settings._replace(config=config)
  workers = [
    Worker("jax", config, environment={GPU: "xla"}, machine_too=True, exports=False),
    Worker("jax", config, environment={GPU: "pallas"}, name=_PALLAS, exports=False),
  ]
  workers += [Worker("torch", config, compiles=False)] if settings.torch else []
  with running(workers):
    for worker in workers:
      worker.receive()
    whole = 0.0
    for name, item in _items(settings, workers, say):
      if time.monotonic() - start > limit:
        yield [Row(name, "no time was left")]
        continue
      say(name)
      try:
        rows, seconds = item()
      except WorkerError as error:
        rows, seconds = [Row(name, f"failed: {error}")], 0.0
      whole = seconds or whole
      yield rows
    left = limit - (time.monotonic() - start)
    if 0 < whole < left:
      say("the whole protocol")
      yield _protocol(settings, settings.all_epochs)[0]


def table(rows: Sequence[Row]) -> str:
  """Markdown."""
  return markdown(["", "measured", "expected on an H200"], rows)


def _items(settings, workers, say):
  """Names and functions that give rows, and the seconds of a whole protocol or 0."""

  def case(what, stage, precision):
    taught = bool(settings.config["stages"][stage]["teacher"])
    count = settings.batch if what == "training" else settings.images
    cached = what == "training" and taught
    return Case(what, stage, *settings.size, count, cached, precision)

  def timed(what, stage, precision):
    each = case(what, stage, precision)
    return f"{what}: {each.name}", lambda: (_race(settings, workers, each, say), 0.0)

  def steps(precisions):
    for precision in precisions:
      for stage in ("student", "kd", "teacher"):
        yield timed("training", stage, precision)

  first = settings.precisions[0]
  student = case("training", "student", first)
  yield from steps([first])
  yield timed("inference", "student", first)
  yield "start", lambda: (_starts(settings, student), 0.0)
  yield "protocol", lambda: _protocol(settings, settings.epochs)
  yield from steps(settings.precisions[1:2])
  yield "several trainings", lambda: (_at_once(settings, student), 0.0)
  yield timed("inference", "teacher", first)
  yield from steps(settings.precisions[2:])


def _race(settings, workers, case, say) -> list[Row]:
  result = race.run(
    workers, case, repeats=settings.repeats, seconds=settings.seconds, say=say
  )
  rows = []
  for runner, seconds in result.seconds.items():
    if runner not in ("matmul", "copy"):
      expected = _EXPECTED.get((case.stage, case.precision, runner), "")
      expected = expected if case.what == "training" else ""
      found = f"{1e3 * np.median(seconds):.2f} ms"
      rows.append(Row(f"{case.what}: {case.name}: {runner}", found, expected))
      compiled = f"{result.compile_seconds[runner]:.1f} s"
      rows.append(Row("its compilation and first calls", compiled))
  rows += [Row(name, f"omitted: {why}") for name, why in result.failed.items()]
  for name, worker in zip((*("jax", _PALLAS), "torch"), workers, strict=False):
    worker.send(do="most_memory")
    if most := worker.receive()["bytes"]:
      rows.append(Row(f"most memory until now: {name}", f"{most / 1e6:.0f} MB"))
  return rows


def _starts(settings, case) -> list[Row]:
  """Two processes, one after the other: the second finds what the first compiled."""
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    environment = _CACHED | {"JAX_COMPILATION_CACHE_DIR": folder}
    file = pathlib.Path(folder, "problem.pickle")
    for which in ("first", "second"):
      start = time.perf_counter()
      worker = Worker("jax", settings.config, environment=environment, exports=False)
      with running([worker]):
        worker.receive()
        worker.prepare(case, file)
        seconds = time.perf_counter() - start
      what = f"{which} start of a process, to the end of its first dispatches"
      rows.append(Row(what, f"{seconds:.1f} s"))
  return rows


def _protocol(settings, count) -> tuple[list[Row], float]:
  """Rows, and the seconds of the whole protocol, reckoned from a part of it."""
  stages = [name for name, each in settings.config["stages"].items() if each["epochs"]]
  found = epochs.run_protocol(settings.config, stages, settings.size, count)
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
    rows.append(Row(what, f"{whole:.0f} s", _EXPECTED_PROTOCOL))
  return rows, whole


def _at_once(settings, case) -> list[Row]:
  """Steps of several processes at once, as trainings of several seeds are."""
  workers = [
    Worker("jax", settings.config, exports=False) for _ in range(max(_AT_ONCE))
  ]
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
      rows.append(Row(what, f"{slowest / alone:.2f} ({count} in turn: {count}.00)"))
  return rows
