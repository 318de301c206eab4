"""What every script shares: flags in, one-paragraph errors out."""

import logging as standard_logging
import signal
import sys
from collections.abc import Callable

from absl import app, logging

from kdmri_jax.errors import Interrupted, UserError


def run_main(main: Callable[[list[str]], None]) -> None:
  """Runs an absl main.

  Exit status: 0 when it succeeded; 1 after a `UserError`, which is printed as one
  paragraph; 128 + signal after an interruption, as shells expect.
  """

  def guarded(argv):
    _show_own_messages()
    if len(argv) > 1:
      raise app.UsageError(f"unknown argument {argv[1]!r}; settings start with --")
    try:
      main(argv)
    except UserError as error:
      sys.exit(f"\nerror: {error}")
    except Interrupted as stop:
      print(f"\n{stop}", file=sys.stderr)
      sys.exit(128 + stop.signal_number)
    except KeyboardInterrupt:
      print("\ninterrupted ; nothing was left half-done", file=sys.stderr)
      sys.exit(128 + signal.SIGINT)

  app.run(guarded)


def _show_own_messages() -> None:
  """Shows this package's messages as plain lines, of others only warnings."""
  logging.set_verbosity(logging.INFO)
  handler = logging.get_absl_handler()
  handler.setFormatter(standard_logging.Formatter("%(message)s"))
  handler.addFilter(
    lambda record: (
      record.levelno > standard_logging.INFO or __package__ in record.pathname
    )
  )
