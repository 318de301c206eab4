"""The command `kdmri`: one sub-command for each script."""

import ast
import importlib
import pathlib
import sys

import kdmri_jax
from kdmri_jax.lookup import suggestion
from kdmri_jax.saving import printing
from kdmri_jax.scripts._missing import explain_missing_packages

_SCRIPTS = pathlib.Path(__file__).parent / "scripts"


def main() -> None:
  """Runs `kdmri NAME --flag=value ...`; imports the script of that name alone."""
  explain_missing_packages()
  started = (
    "kdmri" if pathlib.Path(sys.argv[0]).stem == "kdmri" else "python -m kdmri_jax"
  )
  name, *rest = sys.argv[1:] or ["--help"]
  names = sorted(path.stem for path in _SCRIPTS.glob("[!_]*.py"))
  if name in ("--help", "-h", "help"):
    with printing():
      print(_help(started, names))
  elif name == "--version":
    print(f"kdmri_jax {kdmri_jax.__version__}")
  elif name in names:
    sys.argv = [f"{started} {name}", *rest]
    script = importlib.import_module(f"kdmri_jax.scripts.{name}")
    importlib.import_module("kdmri_jax.cli").run_main(script.main)
  else:
    remedy = suggestion(name, names) or f"See {started} --help."
    sys.exit(
      f"\nerror: {started}: found no command {name!r}; expected one of "
      f"{', '.join(names)}. {remedy}"
    )


def _help(started: str, names: list[str]) -> str:
  """One line per command: the first line of its script's docstring."""
  width = max(map(len, names))
  lines = [
    f"{(kdmri_jax.__doc__ or '').splitlines()[0]}\n",
    f"  {started} COMMAND --flag=value ...   ({started} COMMAND --help says which)\n",
  ]
  for name in names:
    module = ast.parse((_SCRIPTS / f"{name}.py").read_text(encoding="utf-8"))
    summary = (ast.get_docstring(module) or "").splitlines()[0]
    lines.append(f"  {name:{width}}  {summary}")
  return "\n".join(lines)


if __name__ == "__main__":
  main()
