"""Commands as users type them, run in this process: imports and compilation are kept.

For tests of what a command prints, writes and returns. What needs a process of its own
(signals, `kill -9`, the environment) starts one.
"""

import contextlib
import importlib
import io
import sys
import warnings
from typing import NamedTuple
from unittest import mock

from absl import app, flags

from kdmri_jax import __main__, cli, memory
from kdmri_jax.training import parallel


class Done(NamedTuple):
  """A command that ended, with the names of `subprocess.CompletedProcess`."""

  returncode: int
  stdout: str
  stderr: str


def run(command, *arguments, cwd=".") -> Done:
  """Runs `kdmri COMMAND ARGUMENTS` in the folder `cwd`.

  The flags and settings of this process are the same afterwards. Errors that would show
  a traceback are raised.
  """
  argv = ["kdmri", command, *map(str, arguments)]
  stdout, stderr = io.StringIO(), io.StringIO()
  with contextlib.ExitStack() as stack:
    enter = stack.enter_context
    enter(contextlib.chdir(cwd))
    enter(_flags_of_its_own(f"kdmri_jax.scripts.{command}"))
    enter(mock.patch.object(sys, "argv", argv))
    enter(mock.patch.object(sys, "excepthook", sys.excepthook))
    enter(mock.patch.object(app, "run", _run_absl_main))
    enter(mock.patch.object(cli, "_show_own_messages"))
    enter(mock.patch.object(memory, "keep_freed"))
    enter(mock.patch.object(parallel, "use_cores"))  # conftest has chosen the devices
    enter(warnings.catch_warnings())
    warnings.filterwarnings("ignore", "the load_module")  # by ml_collections
    enter(contextlib.redirect_stdout(stdout))
    enter(contextlib.redirect_stderr(stderr))
    code = _exit_status(__main__.main)
  return Done(code, stdout.getvalue(), stderr.getvalue())


def refused(command, *arguments, **kwargs) -> str:
  """The one-paragraph error of a command that must fail."""
  done = run(command, *arguments, **kwargs)
  assert done.returncode == 1, done.stdout + done.stderr
  paragraphs = done.stderr.strip().split("\n\n")
  assert paragraphs[-1].count("error: ") == 1, done.stderr
  assert "\n" not in paragraphs[-1]
  return paragraphs[-1]


@contextlib.contextmanager
def parsing(words):
  """Within the block the flags of `kdmri COMMAND --FLAG ...` are defined.

  Args:
    words: the command's words.

  Yields:
    A function that parses them as the command does, and returns its other arguments.
  """
  argv = [" ".join(words[:2]), *words[2:]]
  module = f"kdmri_jax.scripts.{words[1]}"
  with contextlib.ExitStack() as stack:
    stack.enter_context(_flags_of_its_own(module))
    stack.enter_context(mock.patch.object(sys, "argv", argv))
    stack.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", "the load_module")  # by ml_collections
    importlib.import_module(module)
    yield lambda: flags.FLAGS(argv)[1:]


@contextlib.contextmanager
def _flags_of_its_own(module):
  """The module may be imported, and its flags parsed, in each such block anew."""
  state = vars(flags.FLAGS)
  before = {name: _copied(part) for name, part in state.items()}
  try:
    yield
  finally:
    sys.modules.pop(module, None)
    state.clear()
    state.update(before)


def _copied(part):
  if isinstance(part, dict):
    return {k: list(v) if isinstance(v, list) else v for k, v in part.items()}
  return part


def _run_absl_main(main, flags_parser):
  """Stands for `absl.app.run`, which may be called once in a process."""
  sys.exit(main(flags_parser(sys.argv)))


def _exit_status(main) -> int:
  try:
    main()
  except SystemExit as end:
    if end.code is None or isinstance(end.code, int):
      return end.code or 0
    print(end.code, file=sys.stderr)
    return 1
  return 0
