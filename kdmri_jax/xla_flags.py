"""What XLA is told about CPUs; read when JAX is first used."""

import importlib.metadata
import os

_THREADS = "--xla_cpu_multi_thread_eigen"


def one_thread_an_operation() -> None:
  """Lets XLA compute each operation on one CPU thread.

  With a host device a core nothing is lost, and results do not depend on how busy the
  threads are. A choice made in XLA_FLAGS is left as it is.
  """
  given = os.environ.get("XLA_FLAGS", "")
  if _THREADS not in given:
    os.environ["XLA_FLAGS"] = f"{given} {_THREADS}=false".strip()


def ffts_may_wait_forever() -> bool:
  """Whether this jaxlib lets FFTs wait for each other.

  In jaxlib 0.11 an FFT that runs on a thread of XLA's pool spreads over the same pool
  and waits; as many FFTs at once as there are threads wait for each other
  (openxla/xla pull request 46347 removed the guard). A release that is not told counts
  as one of those.
  """
  try:
    release = importlib.metadata.version("jaxlib").split(".")[:2]
  except importlib.metadata.PackageNotFoundError:
    return True
  return tuple(map(int, release)) >= (0, 11)
