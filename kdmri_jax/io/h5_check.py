"""Checks HDF5 files in a process of its own, before this process opens them.

The HDF5 library trusts a file: damaged bytes make it loop for ever, take gigabytes or
end the process. So one other process, which lives as long as this one, first walks
through a file and reads everything that could do so. A file that it does not survive is
refused, and the next file gets a new process.
"""

import atexit
import contextlib
import math
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
from typing import Any

import h5py

from kdmri_jax import json_text
from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import HARMLESS, reading, refuse_huge

_SECONDS, _BYTES_PER_SECOND = 5, 10 << 20  # of CPU time, for a file of some size
_MEMORY = 256 << 20  # bytes beyond three times the file
_ROWS = 256  # of values of variable length, read at a time
_REMEDY = "It is damaged or harmful: copy it again from its source."
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
_START += f"from {__name__} import main; main()"


def check(path: str | os.PathLike) -> None:
  """Refuses a file that this process should not read; a file is checked once.

  Args:
    path: the file, which begins as HDF5.

  Raises:
    UserError: it is damaged; a part of it is in another file (an external link, an
      external storage, a virtual dataset); a dataset has far fewer bytes in the file
      than it claims; or the HDF5 library does not survive it.
    OSError: there is no such file.
  """
  found = os.stat(path)
  state = found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
  if state in _checked:
    return
  with _lock:
    if answer := _ask(path):
      raise UserError(path, *answer)
  _checked.add(state)


class _Process:
  """The other process; it answers line by line."""

  def __init__(self):
    self.owner = os.getpid()
    self._process = subprocess.Popen(
      [sys.executable, "-c", _START, json_text.dumps(sys.path)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
      start_new_session=True,  # the terminal's signals are for this process
      text=True,
    )

  def ask(self, path: str) -> str:
    """The answer, a line; "" where the process has ended."""
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.write(json_text.dumps(path) + "\n")
      self._process.stdin.flush()
    return self._process.stdout.readline()

  def has_ended(self) -> bool:
    """Whether something ended the process while it had nothing to do."""
    return self._process.poll() is not None

  def close(self) -> int:
    """Ends the process; returns its exit status."""
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.stdout.close()
    return self._process.wait()


_checked: set[tuple[int, ...]] = set()
_lock = threading.Lock()
_processes: list[_Process] = []


@atexit.register
def _close() -> None:
  if _processes and _processes[0].owner == os.getpid():
    _processes.pop().close()


def _ask(path) -> list[str] | None:
  """What is wrong with a file: found, expected and remedy."""
  if _processes and _processes[0].owner != os.getpid():
    _processes.clear()  # this process was forked from the owner
  if _processes and _processes[0].has_ended():
    _processes.pop().close()
  if not _processes:
    _processes.append(_Process())
  if line := _processes[0].ask(os.path.abspath(path)):
    return json_text.loads(line)
  status = _processes.pop().close()
  found = f"a file that ends a process that reads it (exit status {status})"
  if status == -signal.SIGXCPU:
    found = "a file that the HDF5 library reads without end"
  return [found, "a complete HDF5 file", _REMEDY]


def main() -> None:
  """Answers for each path in a line of standard input; runs in the other process."""
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  for line in sys.stdin:
    path, answer = json_text.loads(line), None
    try:
      with reading(path):
        _limit(os.path.getsize(path))
        with h5py.File(path) as file:
          _check(path, file)
    except UserError as error:
      answer = [error.found, error.expected, error.remedy]
    answers.write(json_text.dumps(answer) + "\n")
    answers.flush()


def _limit(size: int) -> None:
  """Limits what this process takes from now on, for a file of this size."""
  used = resource.getrusage(resource.RUSAGE_SELF)
  seconds = int(used.ru_utime + used.ru_stime) + 1 + _SECONDS
  limits = {resource.RLIMIT_CPU: seconds + size // _BYTES_PER_SECOND}
  with contextlib.suppress(OSError):
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + _MEMORY + 3 * size
  for kind, limit in limits.items():
    most = resource.getrlimit(kind)[1]
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(kind, (limit, most))


def _check(path, file) -> None:
  links: list[tuple[str, Any]] = []
  file.visititems_links(lambda *pair: links.append(pair))
  for name, link in links:
    _refuse_link(path, name, link)
  parts: list[tuple[str, Any]] = []
  file.visititems(lambda *pair: parts.append(pair))
  for name, part in parts:
    _refuse_part(path, name, part)
    _refuse_chunks(path, name, part)
  for name, part in [("/", file), *parts]:
    _read(path, name, part)


def _refuse_link(path, name, link) -> None:
  if isinstance(link, h5py.ExternalLink):
    _refuse_elsewhere(path, f"a link {name!r} into the file {link.filename!r}")


def _refuse_part(path, name, part) -> None:
  if not isinstance(part, h5py.Dataset):
    return
  if part.external:
    file = part.external[0][0]
    _refuse_elsewhere(path, f"a dataset {name!r} with values in the file {file!r}")
  if part.is_virtual:
    for source in part.virtual_sources():
      if source.file_name != ".":
        found = f"a dataset {name!r} with values in the file {source.file_name!r}"
        _refuse_elsewhere(path, found)
  elif part.shape is not None:
    stored = part.id.get_storage_size()
    for shape in (part.shape, part.chunks or ()):
      refuse_huge(
        path,
        shape,
        part.dtype.itemsize,
        stored=stored,
        compressed=part.chunks is not None or not stored,  # or never written
        at_once=False,
      )


def _refuse_chunks(path, name, part) -> None:
  """Refuses chunks that are not in the file whole.

  The HDF5 library would give what happens to be in memory instead of their values.
  """
  if not isinstance(part, h5py.Dataset) or not part.chunks:
    return
  end, filtered = os.path.getsize(path), part.id.get_create_plist().get_nfilters()
  whole = math.prod(part.chunks) * part.id.get_type().get_size()

  def check(chunk):
    least = 1 if filtered else whole
    start = chunk.byte_offset
    if start is None or start <= 0 or chunk.size < least or start + chunk.size > end:
      found = f"{name!r} with a chunk of {chunk.size} bytes at the byte {start}"
      raise UserError(path, found, f"{least} bytes or more within the file", _REMEDY)

  part.id.chunk_iter(check)


def _refuse_elsewhere(path, found: str) -> None:
  remedy = "Copy everything into one file, with: h5repack, or h5py's `copy`."
  raise UserError(path, found, "a file that holds all of its data", remedy)


@contextlib.contextmanager
def _errors_later(path, name, but: type[Exception] | tuple[()] = ()):
  """An error in the block is told when the part is used, but for one of memory."""
  try:
    yield
  except but:
    raise
  except Exception as error:
    if isinstance(error, MemoryError) or "memory allocation failed" in str(error):
      found = f"{name!r}, which takes far more memory than the file has bytes"
      raise UserError(path, found, "a complete HDF5 file", _REMEDY) from error


def _read(path, name, part) -> None:
  attributes: list[str] = []
  with _errors_later(path, name):
    attributes += part.attrs
  for key in attributes:
    # Damage to texts and lists may have another effect in another process.
    with _errors_later(path, key, but=OSError):
      part.attrs[key]
  if isinstance(part, h5py.Dataset) and part.shape is not None:
    with _errors_later(path, name, but=OSError if part.dtype.hasobject else ()):
      _read_values(part)


def _read_values(dataset) -> None:
  """Reads texts, lists and compressed values, and one of the plain numbers."""
  if not dataset.shape:
    dataset[()]
  elif dataset.dtype.hasobject:
    for start in range(0, len(dataset), _ROWS):
      dataset[start : start + _ROWS]
  elif dataset.chunks:
    if dataset.size * dataset.dtype.itemsize <= HARMLESS:
      dataset[()]
  elif dataset.size:
    dataset[(0,) * dataset.ndim]
    dataset[tuple(size - 1 for size in dataset.shape)]
