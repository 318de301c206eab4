"""What every script shares: flags in, one-paragraph errors out."""

import functools
import logging as standard_logging
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable

from absl import app, flags, logging

from kdmri_jax import memory
from kdmri_jax.errors import Interrupted, UserError


def run_main(
  main: Callable[[list[str]], None], *, takes_arguments: bool = False
) -> None:
  """Runs an absl main, in a process that keeps the memory it frees (`memory`).

  Exit status: 0 when it succeeded; 1 after a `UserError`, which is printed as one
  paragraph; 128 + signal after an interruption, as shells expect.

  Args:
    main: is given the script's name and its arguments.
    takes_arguments: whether there may be arguments that are no flags.
  """

  def guarded(argv):
    _show_own_messages()
    memory.keep_freed()
    try:
      main(argv)
    except UserError as error:
      sys.exit(f"\nerror: {error}")
    except Interrupted as stop:
      print(f"\n{stop}", file=sys.stderr)
      sys.exit(128 + stop.signal_number)
    except KeyboardInterrupt:
      print("\ninterrupted; nothing was left half-done", file=sys.stderr)
      sys.exit(128 + signal.SIGINT)

  parse = functools.partial(_parse_flags, takes_arguments=takes_arguments)
  app.run(guarded, flags_parser=parse)


def config_file_error(where, error: Exception) -> UserError:
  """What to say of a config file that ml_collections could not load."""
  reason = " ".join(str(error).split()[-9:])
  return UserError(
    where,
    f"a config file that cannot be loaded ({reason})",
    "a Python file with get_config()",
    "Correct --config; experiments/ holds examples.",
  )


def _parse_flags(argv: list[str], *, takes_arguments: bool) -> list[str]:
  """absl's parser; its failures and those of a config file in one paragraph."""
  try:
    rest = flags.FLAGS(argv)
    if len(rest) > 1 and not takes_arguments:
      raise flags.Error(f"the argument {rest[1]!r}")
    return rest
  except Exception as error:  # whatever a config file may raise
    sys.exit(f"\nerror: {_flag_error(argv, error)}")


def _flag_error(argv: list[str], error: Exception) -> UserError:
  """Names the argument: ml_collections names no more than the unknown key."""
  error = _root(error)
  text = error.args[0] if error.args else error
  key, *hints = str(text).splitlines() or [""]
  key = key.strip("'\"")
  argument = next((a for a in argv if key in a.partition("=")[0].split(".")), None)
  file = next((a for a in reversed(argv) if a.startswith("--config=")), "command line")
  if isinstance(error, OSError):
    return config_file_error(file, error)
  if isinstance(error, flags.Error):
    return UserError("command line", str(text), "--flag=value", "See --help.")
  if argument is None:
    found = f"{type(error).__name__}: {text} ({_place(error)})"
    expected = "flags of the form --name=value and a config file without mistakes"
    return UserError(file, found, expected, "See --help.")
  hint = f"{hints[0]} " if hints else ""
  return UserError(
    argument,
    f"no setting {key!r} there",
    "a setting of the experiment",
    f"{hint}All settings: kdmri_jax/config/schema.py, experiments/base.py.",
  )


def _root(error: BaseException) -> BaseException:
  """What was raised first: ml_collections and absl raise theirs about it."""
  while error.args and isinstance(error.args[0], Exception):
    error = error.args[0]
  while error.__context__ and "Error whilst parsing config file" in str(error):
    error = error.__context__
  return error


def _place(error: BaseException) -> str:
  """File and line of the mistake, not of the machinery that imports files."""
  if isinstance(error, SyntaxError):
    return f"{error.filename}, line {error.lineno}"
  frames = traceback.extract_tb(error.__traceback__)
  frame = [f for f in frames if "importlib" not in f.filename][-1]
  return f"{frame.filename}, line {frame.lineno}"


def _show_own_messages() -> None:
  """Shows this package's messages as plain lines, of others warnings at least.

  Orbax warns whenever a folder of checkpoints is opened to be read.
  """
  here = str(pathlib.Path(__file__).parent)

  def shown(record):
    hidden = standard_logging.INFO
    if "orbax" in record.pathname:
      hidden = standard_logging.WARNING
    return record.pathname.startswith(here) or record.levelno > hidden

  logging.set_verbosity(logging.INFO)
  handler = logging.get_absl_handler()
  handler.setFormatter(standard_logging.Formatter("%(message)s"))
  handler.addFilter(shown)
