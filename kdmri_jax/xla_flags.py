"""XLA's flags for CPUs, which are read when JAX is first used."""

import os

from jaxlib import version

_THREADS = "--xla_cpu_multi_thread_eigen"


def one_thread_per_operation() -> None:
  """Lets XLA compute each operation on one CPU thread.

  With one host device per core this costs nothing, and results do not depend on the
  load of the threads. A value of the flag in XLA_FLAGS is kept.
  """
  given = os.environ.get("XLA_FLAGS", "")
  if _THREADS not in given:
    os.environ["XLA_FLAGS"] = f"{given} {_THREADS}=false".strip()


def ffts_may_deadlock() -> bool:
  """Whether FFTs may wait for each other forever in this jaxlib.

  In jaxlib 0.11 an FFT on a thread of XLA's pool distributes its work over the same
  pool and waits; as many FFTs at once as threads wait for each other (openxla/xla pull
  request 46347 removed the guard).
  """
  return version.__version_info__ >= (0, 11)
