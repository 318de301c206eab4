"""Lets a run stop on SIGTERM and Ctrl-C between two steps."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator


class Interrupt:
  """Remembers the first signal; a second Ctrl-C stops at once.

  Attributes:
    received: the signal's number, or 0.
  """

  def __init__(self):
    self.received = 0

  def handle(self, number: int, frame: types.FrameType | None) -> None:
    """A signal handler."""
    del frame
    if self.received and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.received = number


@contextlib.contextmanager
def caught() -> Iterator[Interrupt]:
  """Within the block, SIGTERM and SIGINT are recorded without stopping."""
  interrupt = Interrupt()
  if threading.current_thread() is not threading.main_thread():
    yield interrupt
    return
  numbers = (signal.SIGTERM, signal.SIGINT)
  before = {n: signal.signal(n, interrupt.handle) for n in numbers}
  try:
    yield interrupt
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
