"""What XLA is told about CPUs; read when JAX is first used."""

import importlib.metadata
import os

_THREADS = "--xla_cpu_multi_thread_eigen"
_EXTRA = "--xla_backend_extra_options"


def one_thread_an_operation() -> None:
  """Lets XLA compute each operation on one CPU thread.

  With a host device a core nothing is lost, and results do not depend on how busy the
  threads are. A choice made in XLA_FLAGS is left as it is.
  """
  _add(_THREADS, "false")


def no_unrolled_loops() -> None:
  """Keeps XLA from unrolling loops on CPUs.

  It unrolls a loop over up to 32 channels before it looks for vectors, and then finds
  none: bias and ReLU took twice as long. A choice made in XLA_FLAGS is left as it is.
  """
  _add(_EXTRA, "xla_cpu_disable_loop_unrolling=true")


def _add(flag: str, value: str) -> None:
  given = os.environ.get("XLA_FLAGS", "")
  if flag not in given:
    os.environ["XLA_FLAGS"] = f"{given} {flag}={value}".strip()


def ffts_may_wait_forever() -> bool:
  """Whether this jaxlib lets FFTs wait for each other.

  In jaxlib 0.11 an FFT that runs on a thread of XLA's pool spreads over the same pool
  and waits; as many FFTs at once as there are threads wait for each other
  (openxla/xla pull request 46347 removed the guard).
  """
  release = importlib.metadata.version("jaxlib").split(".")[:2]
  return tuple(map(int, release)) >= (0, 11)
