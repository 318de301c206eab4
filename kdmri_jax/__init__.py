"""Knowledge distillation for MRI reconstruction and restoration in JAX/Flax."""

import importlib.metadata
import os

__version__ = "0.1.0"


def _keep_fft_from_waiting_for_itself() -> None:
  """Lets XLA compute each FFT on one CPU thread, where more can wait forever.

  In jaxlib 0.11 an FFT that runs on a thread of XLA's pool spreads over the same pool
  and waits; as many FFTs at once as there are threads wait for each other
  (openxla/xla pull request 46347 removed the guard). XLA reads the flag when it is
  first used. A choice made in XLA_FLAGS is left as it is.
  """
  flag = "--xla_cpu_multi_thread_eigen"
  flags = os.environ.get("XLA_FLAGS", "")
  release = importlib.metadata.version("jaxlib").split(".")[:2]
  if tuple(map(int, release)) >= (0, 11) and flag not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} {flag}=false".strip()


_keep_fft_from_waiting_for_itself()
