"""A process that prepares cases in one framework and times them on request.

`Worker` starts it as `python -m kdmri_jax.benchmark.worker NAME`. It reads one JSON
object per line and answers each with one.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdmri_jax import json_text
from kdmri_jax.benchmark.case import Case, Runner

FRAMEWORKS = (
  "jax",
  "torch",
  "onnxruntime",
  "openvino",
  "ncnn",
)  # each has a module with_...
# Several processes share an accelerator's memory, and each measures its compilation.
_DEFAULTS = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_MEASURED = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
_LAST = 20  # seconds that a process has to end by itself


class WorkerError(Exception):
  """A worker could not answer a request; the message says why."""


class Worker:
  """One framework in a process of its own.

  Args:
    framework: one of `FRAMEWORKS`.
    config: the experiment, in the form of `config.to_dict`.
    environment: further variables of the process.
    patience: seconds to wait for an answer; None for as long as it takes.
    **options: of the framework's `start`.

  Attributes:
    framework: as given.
    name: the option of that name, else the framework's.
    patience: as given; it may change.
    starts: how often it was started.
    is_silent: whether it was ended because there was no answer.
    process: the process, which `running` ends.
  """

  process: subprocess.Popen

  def __init__(
    self,
    framework: str,
    config: dict,
    environment: Mapping[str, str] | None = None,
    patience: float | None = None,
    **options: Any,
  ):
    self.framework, self.name = framework, options.get("name", framework)
    self.patience, self.starts, self.is_silent = patience, 0, False
    self._environment = dict(environment or {})
    self._first = dict(do="start", config=config, **options)
    self.start()

  def start(self) -> None:
    """Starts the process; again, where it has ended. `receive` waits for it."""
    if self.starts:
      self.close()
    self.starts += 1
    self.process = subprocess.Popen(
      [sys.executable, "-m", "kdmri_jax.benchmark.worker", self.framework],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=_DEFAULTS | os.environ | _MEASURED | self._environment,
    )
    self.send(**self._first)

  def send(self, **request: Any) -> None:
    """Sends a request; `receive` waits for the answer.

    Requests: "start" (once, by `start`), "connect" (of the processes of a team, at
    once), "train" (stages), "most_memory", "kernel" (way, what, channels, images),
    "prepare" (case, file), "run" (runner, calls) and "peak" (runner), see `_serve`.
    """
    with contextlib.suppress(BrokenPipeError):
      self.process.stdin.write(json_text.dumps(request) + "\n")
      self.process.stdin.flush()

  def receive(self) -> dict:
    """The answer to the last request.

    Raises:
      WorkerError: the process has ended, reported an error, or has not answered within
        `patience`, and was ended.
    """
    timer = threading.Timer(self.patience or 0.0, self._give_up)
    if self.patience is not None:
      timer.start()
    answer = self.process.stdout.readline()
    timer.cancel()
    if not answer:
      ended = self.process.wait()
      if self.is_silent:
        raise WorkerError(f"{self.name}: no answer within {self.patience:.0f} s")
      raise WorkerError(f"the {self.name} process ended ({ended})")
    answer = json_text.loads(answer)
    if "error" in answer:
      raise WorkerError(f"{self.name}: {answer['error']}")
    return answer

  def _give_up(self) -> None:
    self.is_silent = True
    self.process.kill()

  def close(self) -> None:
    """Closes the streams; a process that is not at work ends."""
    for stream in (self.process.stdin, self.process.stdout):
      with contextlib.suppress(OSError):  # it has ended, and not read all
        stream.close()

  def ended(self) -> bool:
    """Whether there is no process any more."""
    return self.process.poll() is not None

  def prepare(self, case: Case, file: pathlib.Path) -> dict[str, dict]:
    """Compiles a case and checks its numbers.

    Args:
      case: the case to time.
      file: the `Problem`, which JAX writes and the others read.

    Returns:
      Name of each way to run it -> "compile_seconds" and "deviation" from the
      expected numbers.
    """
    self.send(do="prepare", case=case._asdict(), file=str(file))
    return self.receive()

  def run(self, runner: str, calls: int) -> float:
    """Seconds per call, on average over `calls` calls."""
    self.send(do="run", runner=runner, calls=calls)
    return self.receive()["seconds"]

  def calls(self, runner: str, seconds: float) -> int:
    """The number of calls that take about `seconds`, at least one."""
    self.send(do="run", runner=runner, calls=1)
    return max(1, round(seconds / self.receive()["call_seconds"]))

  def peak(self, runner: str) -> int | None:
    """Bytes of memory that a call needs above those held before; None if unknown.

    This is the host's memory; an accelerator's memory is not known.
    """
    self.send(do="peak", runner=runner)
    return self.receive()["bytes"]


@contextlib.contextmanager
def running(workers: Sequence[Worker]) -> Iterator[Sequence[Worker]]:
  """Ends all processes on leaving, together: some may wait for each other."""
  try:
    yield workers
  finally:
    for worker in workers:
      worker.close()
    for worker in workers:
      try:
        worker.process.wait(_LAST)
      except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.wait()


def _serve(framework: str) -> None:
  """Answers requests until standard input ends."""
  with os.fdopen(os.dup(1), "w") as answers:
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    module: Any = None
    runners: dict[str, Any] = {}
    for line in sys.stdin:
      request = json_text.loads(line)
      do = request.pop("do")
      try:
        if do == "start":
          module = importlib.import_module(f"kdmri_jax.benchmark.with_{framework}")
          answer = module.start(**request)
        elif do in ("connect", "train", "most_memory", "kernel"):
          answer = getattr(module, do)(**request)
        elif do == "prepare":
          runners.clear()
          gc.collect()
          answer = {}
          for name, make in module.prepare(
            Case(**request["case"]), pathlib.Path(request["file"])
          ).items():
            start = time.perf_counter()
            runners[name] = runner = make()
            seconds = time.perf_counter() - start
            answer[name] = {"compile_seconds": seconds, "deviation": runner.deviation}
        elif do == "run":
          runner, calls = runners[request["runner"]], request["calls"]
          start = time.perf_counter()
          for _ in range(calls):
            runner.run()
          call = (time.perf_counter() - start) / calls
          answer = {"seconds": call / runner.times, "call_seconds": call}
        else:
          answer = {"bytes": _peak(runners[request["runner"]])}
      except Exception as error:  # a framework may raise any exception
        answer = {"error": f"{type(error).__name__}: {error}"}
      answers.write(json_text.dumps(answer) + "\n")
      answers.flush()


def _peak(runner: Runner) -> int | None:
  """Growth of the resident memory during a call, on Linux."""
  status = pathlib.Path("/proc/self/status")
  reset = status.with_name("clear_refs")
  if not runner.on_cpu or not reset.exists():
    return None
  gc.collect()
  ctypes.CDLL(None).malloc_trim(0)  # return freed memory to the system
  reset.write_text("5")
  before = _kilobytes(status, "VmRSS")
  runner.run()
  return 1024 * (_kilobytes(status, "VmHWM") - before)


def _kilobytes(status: pathlib.Path, key: str) -> int:
  (line,) = (x for x in status.read_text().splitlines() if x.startswith(f"{key}:"))
  return int(line.split()[1])


if __name__ == "__main__":
  _serve(sys.argv[1])
