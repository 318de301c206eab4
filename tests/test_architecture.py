"""The structure keeps its promises: one-way imports, a documented public part."""

import ast
import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import kdmri_jax

ROOT = pathlib.Path(__file__).parents[1]

# Each part may import the parts named before it, and itself.
ORDER = (
  ("types", "errors", "optional", "memory", "saving", "config", "cli"),
  ("physics", "native"),
  ("models", "losses", "distillation", "data", "interop"),
  ("training", "evaluation"),
  ("benchmark",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}

# Within the third level: what may import what.
BESIDE = {
  ("distillation", "losses"),
  ("distillation", "models"),
  ("interop", "models"),
  ("evaluation", "training"),
}

# Needs a package that the tests do without.
NEEDS = {"kdmri_jax.benchmark.with_torch": "torch"}

MODULES = [
  module.name
  for module in pkgutil.walk_packages(kdmri_jax.__path__, "kdmri_jax.")
  if module.name not in NEEDS or importlib.util.find_spec(NEEDS[module.name])
]


def imports(path):
  """(module imported) of a file, with the names imported from packages."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted((ROOT / "kdmri_jax").rglob("*.py")), ids=str)
def test_imports_run_one_way(path):
  part = path.relative_to(ROOT / "kdmri_jax").parts[0].removesuffix(".py")
  if part == "__init__":
    return
  for name in imports(path):
    if not name.startswith("kdmri_jax."):
      continue
    other = name.split(".")[1]
    if other not in LEVEL or other == part:
      continue
    assert LEVEL[other] <= LEVEL[part], f"{path} imports {name}"
    if LEVEL[other] == LEVEL[part] and LEVEL[part] > 0:
      assert (part, other) in BESIDE, f"{path} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.py")), ids=str)
def test_experiments_import_no_library_but_ml_collections(path):
  known = {*sys.stdlib_module_names, "ml_collections", "experiments"}
  assert {name.split(".")[0] for name in imports(path)} <= known


@pytest.mark.parametrize("name", MODULES)
def test_the_public_part_is_documented(name):
  module = importlib.import_module(name)
  assert module.__doc__, f"{name} has no docstring"
  for key, value in vars(module).items():
    own = getattr(value, "__module__", None) == name
    if key.startswith("_") or not own or not callable(value):
      continue
    assert inspect.getdoc(value), f"{name}.{key} has no docstring"


def test_files_stay_readable_in_one_sitting():
  for folder in ("kdmri_jax", "scripts", "experiments"):
    for path in (ROOT / folder).rglob("*.py"):
      assert len(path.read_text().splitlines()) <= 350, path


def test_help_needs_no_jax():
  """A script's --help answers at once: JAX is imported when work begins."""
  code = (
    "import sys, kdmri_jax, kdmri_jax.config, kdmri_jax.cli, kdmri_jax.errors;"
    "sys.exit('jax' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_importing_everything_touches_no_device():
  code = (
    f"import importlib; [importlib.import_module(n) for n in {MODULES!r}];"
    "import jax; jax.config.update('jax_num_cpu_devices', 3);"
    "assert len(jax.devices()) == 3"
  )
  assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
