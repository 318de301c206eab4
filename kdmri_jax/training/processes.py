"""Several processes that train one experiment together, on one host or on several.

Every process runs the same command and reads the data. In each step it computes its
part of the batch. The first process alone writes: the work directory, the log and the
report. It also reads the work directory for all others, which need not see it.

What exchanges values waits for all processes, so each must make the same calls in the
same order. Without other processes these cost nothing.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from kdmri_jax.errors import Interrupted, UserError

_Result = TypeVar("_Result")

_AXIS = "all"
_FAREWELL = 60  # seconds that a process waits at its end for the end of the others

_alone = False  # whether this process does what the others wait for


class LostProcess(UserError):
  """Another process has ended, so that this one cannot go on."""


def connect(
  coordinator: str = "",
  processes: int | None = None,
  process: int | None = None,
  *,
  patience: int = 300,
) -> None:
  """Joins the other processes; call it before JAX is used.

  Without arguments JAX finds them out: under Slurm, Open MPI, Kubernetes and on TPUs.

  Args:
    coordinator: address of the first process, HOST:PORT with a free port.
    processes: number of processes.
    process: number of this process, from 0.
    patience: seconds to wait for the other processes, here and when one of them is not
      heard of any more.

  Raises:
    UserError: the processes cannot be connected.
  """
  # It would take SIGTERM, which stops a run in order (`interrupt`).
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
      coordinator or None,
      num_processes=processes,
      process_id=process,
      initialization_timeout=patience,
      heartbeat_timeout_seconds=patience,
      shutdown_timeout_seconds=_FAREWELL,
    )
  except (RuntimeError, ValueError, OSError) as error:
    expected = "processes that reach each other"
    remedy = "Under Slurm start them with srun. Elsewhere give each --coordinator="
    remedy += "HOST:PORT, --processes=N and its own --process, from 0 to N - 1."
    raise UserError("--distributed", str(error), expected, remedy) from error


def count() -> int:
  """The number of processes."""
  return jax.process_count()


def is_first() -> bool:
  """Whether this process is the one that writes."""
  return jax.process_index() == 0


def share(rows: np.ndarray) -> np.ndarray:
  """This process's part of the rows of a batch, which divide evenly."""
  return rows.reshape(count(), -1)[jax.process_index()]


def of_first(function: Callable[[], _Result]) -> _Result:
  """Calls a function in the first process alone; the result, in all of them.

  Calls within the function stay in the first process.

  Args:
    function: its result can be pickled; arrays are of NumPy or on the devices of one
      process.

  Raises:
    UserError, Interrupted: those of the function, in all processes.
  """
  if count() == 1 or _alone:
    return function()
  outcome = None
  if is_first():
    with _being_alone():
      outcome = _attempt(function)
  return _result(_broadcast(outcome))


def in_all(function: Callable[[], _Result]) -> _Result:
  """Calls a function in every process, each of which gets its own result.

  Raises:
    UserError, Interrupted: where the function raises it in a process, all others raise
      it, too, with the number of that process.
  """
  if count() == 1:
    return function()
  with _being_alone():
    outcome = _attempt(function)
  failed = multihost_utils.process_allgather(np.array(isinstance(outcome, Exception)))
  if not failed.any():
    return outcome
  worst = int(np.argmax(failed))
  error = _broadcast(outcome, worst)
  if worst and isinstance(error, UserError):
    where = f"process {worst}: {error.where}"
    error = UserError(where, error.found, error.expected, error.remedy)
  raise error


@contextlib.contextmanager
def connected() -> Iterator[None]:
  """Within the block, errors of a connection become a `LostProcess`."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
      raise
    found = f"a process that does not answer ({error})"
    remedy = "Its own messages tell why. Start the same commands again to continue."
    raise LostProcess("--distributed", found, "all processes", remedy) from error


class Poll:
  """The largest number of all processes, again and again, without a wait.

  Args:
    devices: the devices of all processes that train.
  """

  def __init__(self, devices: Sequence[jax.Device]):
    self._pending, self._largest = None, None
    if count() > 1:
      self._largest = jax.pmap(
        lambda x: jax.lax.pmax(x, _AXIS), _AXIS, devices=devices, out_axes=None
      )
      self._own = sum(d.process_index == jax.process_index() for d in devices)

  def next(self, number: int) -> int:
    """The largest number that a process gave to the call before this one.

    With one process it is the number of this call.
    """
    if self._largest is None:
      return number
    before, self._pending = self._pending, self._largest(np.full(self._own, number))
    return 0 if before is None else int(before)

  def now(self, number: int) -> int:
    """The largest number that a process gives to this call."""
    self.next(number)
    return self.next(number)


def open_connections(devices: Sequence[jax.Device] = ()) -> None:
  """Opens the connections between the processes, which must call it at the same time.

  On CPUs the first use of a connection waits for 30 seconds only (Gloo); later ones
  wait as long as a process is heard of. From here on the messages of all processes but
  the first are shown from warnings on.

  Args:
    devices: those that train, once they are chosen.
  """
  if not is_first():
    logging.set_verbosity(logging.WARNING)
  of_first(lambda: None)
  in_all(lambda: None)
  if devices:
    Poll(devices).now(0)


@contextlib.contextmanager
def _being_alone():
  global _alone
  _alone = True
  try:
    yield
  finally:
    _alone = False


def _attempt(function: Callable) -> Any:
  """The result of a function, with its arrays on the host, or its exception."""
  try:
    return function()
  except (UserError, Interrupted) as error:
    return error
  except Exception as error:
    logging.exception("an error in this process")
    found = f"{type(error).__name__}: {error}"
    return UserError("training", found, "no such error", "See the log for its place.")


def _result(outcome: Any) -> Any:
  if isinstance(outcome, Exception):
    raise outcome
  return outcome


def _broadcast(value: Any, source: int = 0) -> Any:
  """A value of one process, in all of them."""
  is_source = jax.process_index() == source
  packed = np.zeros(0, np.uint8)
  if is_source:
    packed = np.frombuffer(pickle.dumps(jax.device_get(value)), np.uint8)
  size = multihost_utils.broadcast_one_to_all(np.int64(len(packed)), is_source)
  if not is_source:
    packed = np.zeros(int(size), np.uint8)
  return pickle.loads(multihost_utils.broadcast_one_to_all(packed, is_source).tobytes())
