"""Helpers for scripts: flags, and one-paragraph error messages."""

import gc
import logging as standard_logging
import pathlib
import re
import signal
import sys
import traceback
from collections.abc import Callable

from absl import app, command_name, flags, logging

from kdmri_jax import compiled, memory
from kdmri_jax.errors import Interrupted, UserError
from kdmri_jax.saving import printing

_OBJECTS = 100_000  # made between two searches for garbage, by imports and traces


def run_main(main: Callable[[list[str]], None]) -> None:
  """Runs an absl main in a process that keeps its freed memory (`memory`).

  What JAX compiles is kept for later processes (`compiled`).

  Exit status: 0 when it succeeded; 1 after a `UserError`, which is printed as one
  paragraph; 128 + signal after an interruption, as shells expect.

  Args:
    main: receives the command's name and the arguments that are not flags.
  """

  def guarded(argv):
    # A name with a space, such as absl's "kdmri run", hides a process from Slurm's
    # proctrack/linuxproc: no signal would reach it.
    command_name.set_kernel_process_name("kdmri")
    _show_own_messages()
    gc.set_threshold(_OBJECTS)
    memory.keep_freed()
    compiled.keep()
    try:
      with printing():
        main(argv)
    except UserError as error:
      sys.exit(f"\nerror: {error}")
    except Interrupted as stop:
      print(f"\n{stop}", file=sys.stderr)
      sys.exit(128 + stop.signal_number)
    except KeyboardInterrupt:
      print("\ninterrupted; no incomplete files were left", file=sys.stderr)
      sys.exit(128 + signal.SIGINT)

  if {"--help", "-help", "-h"} & set(sys.argv[1:]):
    with printing():
      print(help_text(main))
    return
  app.run(guarded, flags_parser=_parse_flags)


def help_text(main: Callable[[list[str]], None]) -> str:
  """The text of --help: the docstring of a script and its flags.

  The command that started the process replaces `kdmri NAME` in the docstring.
  """
  module = sys.modules[main.__module__]
  script, program = pathlib.Path(str(module.__file__)).stem, sys.argv[0]
  if module.__name__ == "__main__":
    program = f"python {program}"
  text = re.sub(rf"\bkdmri {script}\b", lambda _: program, module.__doc__ or "")
  return f"{text}\nFlags:\n{flags.FLAGS.module_help(module)}"


def refuse_arguments(argv: list[str]) -> None:
  """Refuses arguments of commands that take only flags.

  Raises:
    UserError: there is an argument.
  """
  if len(argv) > 1:
    found = f"the argument {argv[1]!r}"
    raise UserError("command line", found, "--flag=value", "See --help.")


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses flags with absl; errors, also of a config file, become one paragraph."""
  try:
    return flags.FLAGS(argv)
  except Exception as error:  # a config file may raise any exception
    sys.exit(f"\nerror: {_flag_error(argv, error)}")


def _flag_error(argv: list[str], error: Exception) -> UserError:
  """The error with the name of the argument; ml_collections gives only the key."""
  error = _root(error)
  if isinstance(error, UserError):
    return error
  text = str(error.args[0] if error.args else error)
  if missing := re.findall(r"Flag (--\w+) must have a value other", text):
    found = f"no {' and no '.join(missing)}"
    return UserError("command line", found, "a value for each", "See --help.")
  if isinstance(error, flags.Error):
    return UserError("command line", text, "--flag=value", "See --help.")
  key, *hints = text.splitlines() or [""]
  key = key.strip("'\"")
  for argument in argv:
    if key in argument.partition("=")[0].split("."):
      found, expected = f"no setting {key!r} there", "a setting of the experiment"
      more = "docs/settings.md and kdmri_jax.config.reference() tell all settings."
      flag, _, value = argument.partition("=")
      group, _, name = flag.rpartition(".")
      if group.endswith(".optimiser_settings"):  # names that the schema does not know
        more = f"Write {group}=\"{{'{name}': {value}}}\"."
      return UserError(argument, found, expected, " ".join([*hints[:1], more]))
  file = next((a for a in reversed(argv) if a.startswith("--config=")), "command line")
  found = f"{type(error).__name__}: {text} ({_place(error)})"
  expected = "flags of the form --name=value and a config file without mistakes"
  return UserError(file, found, expected, "See --help.")


def _root(error: BaseException) -> BaseException:
  """The original exception behind those of ml_collections and absl."""
  while error.args and isinstance(error.args[0], Exception):
    error = error.args[0]
  while error.__context__ and "Error whilst parsing config file" in str(error):
    error = error.__context__
  return error


def _place(error: BaseException) -> str:
  """File and line of the mistake, not of the import system."""
  if isinstance(error, SyntaxError):
    return f"{error.filename}, line {error.lineno}"
  frames = traceback.extract_tb(error.__traceback__)
  frame = [f for f in frames if "importlib" not in f.filename][-1]
  return f"{frame.filename}, line {frame.lineno}"


def _show_own_messages() -> None:
  """Shows this package's messages as plain lines, and warnings alone of others."""
  here = str(pathlib.Path(__file__).parent)

  def shown(record):
    own = record.pathname.startswith(here)
    return own or record.levelno > standard_logging.INFO

  logging.set_verbosity(logging.INFO)
  handler = logging.get_absl_handler()
  handler.setFormatter(standard_logging.Formatter("%(message)s"))
  handler.addFilter(shown)
