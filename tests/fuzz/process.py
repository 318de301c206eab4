"""A process that reads cases, watched: crashes, hangs and memory become outcomes."""

import multiprocessing
import os
import pathlib
import resource
import time
import traceback
from typing import NamedTuple

EQUAL, OTHER, REFUSED = "equal", "other", "refused"
SILENT, TRACEBACK, CRASH = "silent", "traceback", "crash"
HANG, MEMORY = "hang", "memory"
FAILURES = (SILENT, TRACEBACK, CRASH, HANG, MEMORY)

DEADLINE = 20.0  # seconds of CPU time
_WAIT = 180.0  # seconds of any time, in which nothing is computed: a pipe, a lock
_SPARE = 500e6  # bytes
_ADDRESSES = 6 << 30  # bytes that a worker may reserve beyond those at its start
_FULL = 2e9  # bytes after which a worker is replaced


class Outcome(NamedTuple):
  """What became of a case.

  Attributes:
    kind: one of the names above.
    text: the error, or the digest of what was read.
    seconds, memory: CPU time, and bytes at the peak beyond those before.
  """

  kind: str
  text: str
  seconds: float = 0.0
  memory: float = 0.0


class Worker:
  """Reads cases in a process of its own, which is started anew after a failure."""

  def __init__(self, log: pathlib.Path):
    self._log = log
    self._process = None

  def read(self, reader: str, way: str, folder: pathlib.Path, deadline=DEADLINE):
    """The outcome of one case; `EQUAL` where anything was read.

    Args:
      reader: key of `readers.READERS`.
      way: key of its ways to read.
      folder: of the files.
      deadline: seconds of CPU time.
    """
    if self._process is None or not self._process.is_alive():
      self._start()
    pid, begun = self._process.pid, time.monotonic()
    before = _cpu(pid)
    self._pipe.send((reader, way, str(folder)))
    try:
      while not self._pipe.poll(0.2):
        used = _cpu(pid) - before
        if used > deadline or time.monotonic() - begun > _WAIT:
          self.stop()
          return Outcome(HANG, f"no end after {used:.0f} s of CPU time", used)
      outcome = Outcome(*self._pipe.recv())
    except (EOFError, ConnectionResetError):
      self._process.join()
      return Outcome(CRASH, f"the process ended with {self._process.exitcode}")
    if outcome.memory > _FULL or _resident(pid) > _FULL:
      self.stop()
    return outcome

  @property
  def pid(self) -> int:
    """Of the process that has read the last case."""
    return self._process.pid

  def stop(self):
    """Ends the process."""
    if self._process is not None:
      self._process.kill()
      self._process.join()
      self._pipe.close()
      self._process = None

  def _start(self):
    context = multiprocessing.get_context("spawn")
    self._pipe, other = context.Pipe()
    self._process = context.Process(target=_serve, args=(other, self._log), daemon=True)
    self._process.start()
    other.close()
    self._pipe.recv()  # it has imported everything


def judge(outcome: Outcome, honest: Outcome, checked: bool) -> Outcome:
  """The outcome of a damaged file beside that of the undamaged one.

  Args:
    outcome: of the damaged file.
    honest: of the undamaged one.
    checked: whether other content must be noticed.
  """
  if outcome.memory > 2 * honest.memory + _SPARE:
    return outcome._replace(kind=MEMORY)
  if outcome.kind == EQUAL and outcome.text != honest.text:
    return outcome._replace(kind=SILENT if checked else OTHER)
  return outcome


def _serve(pipe, log):
  """Reads what the pipe names until it is closed."""
  file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(file, 1)
  os.dup2(file, 2)
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  import faulthandler
  import warnings

  faulthandler.enable()
  warnings.simplefilter("ignore")
  from fuzz import readers

  limit = _status("VmSize") + _ADDRESSES
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  pipe.send("ready")
  while True:
    try:
      reader, way, folder = pipe.recv()
    except EOFError:
      return
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before, begun = _status("VmRSS"), time.process_time()
    try:
      value = readers.READERS[reader].ways[way](pathlib.Path(folder))
      kind, text = EQUAL, readers.fingerprint(value)
    except BaseException as error:
      kind, text = _described(error)
    seconds = time.process_time() - begun
    pipe.send((kind, text, seconds, max(0, _status("VmHWM") - before)))


def _described(error):
  from kdmri_jax.errors import UserError

  causes, cause = [], error
  while cause is not None and cause not in causes:
    causes.append(cause)
    cause = cause.__cause__ or cause.__context__
  if any(isinstance(cause, MemoryError) for cause in causes):
    return MEMORY, f"{type(error).__name__}: {error}"
  if isinstance(error, UserError):
    return REFUSED, str(error)
  return TRACEBACK, "".join(traceback.format_exception(error))


def _status(key) -> int:
  for line in pathlib.Path("/proc/self/status").read_text().splitlines():
    if line.startswith(f"{key}:"):
      return 1024 * int(line.split()[1])
  return 0


def _cpu(pid) -> float:
  try:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
  except OSError:
    return 0.0
  return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _resident(pid) -> int:
  try:
    pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
  except OSError:
    return 0
  return int(pages) * resource.getpagesize()
