"""Names a missing package in one paragraph, instead of a traceback.

A script imports this module before all others, and it needs only Python.
"""

import pathlib
import sys


def explain_missing_packages() -> None:
  """Lets this process end with one paragraph where an import finds no package."""
  sys.excepthook = _explain


def _explain(kind, error, trace):
  if not issubclass(kind, ModuleNotFoundError):
    return sys.__excepthook__(kind, error, trace)
  package = (error.name or str(error)).partition(".")[0]
  checkout = pathlib.Path(__file__).resolve().parents[1]
  made = checkout / ".venv" / "bin" / "python"
  remedy = f"run `{sys.executable} -m pip install {checkout}`"
  if made.exists():
    remedy = f"start the command with {made}, or {remedy}"
  else:
    remedy += f", or `make demo` there and start the command with {made}"
  print(
    f"\nerror: {sys.executable}: found no package {package!r}; expected kdmri_jax and "
    f"the packages that it needs. Either {remedy}.",
    file=sys.stderr,
  )
