"""The structure keeps its promises: one-way imports, a documented public part."""

import ast
import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys

import kdmri_jax

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "kdmri_jax"

# Each part may import itself and the parts of the lines before its own.
ORDER = (
  (
    "types",
    "errors",
    "image_layout",
    "lazy",
    "lookup",
    "optional",
    "json_text",
    "memory",
    "compiled",
    "scratch",
    "saving",
    "xla_flags",
    "protocols",
    "config",
    "config_flag",
    "cli",
  ),
  ("experiments",),
  ("io", "ops"),
  ("physics",),
  ("models", "losses", "metrics", "statistics", "data"),
  ("distillation", "interop", "pretrained"),
  ("training",),
  ("inference",),
  ("report",),
  ("run", "plot"),
  ("benchmark",),
  ("scripts",),
  ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}

# Modules that need a package which the tests do without.
NEEDS = {
  f"kdmri_jax.benchmark.with_{name}": name for name in ("ncnn", "openvino", "torch")
}

MODULES = [
  module.name
  for module in pkgutil.walk_packages(kdmri_jax.__path__, "kdmri_jax.")
  if module.name not in NEEDS or importlib.util.find_spec(NEEDS[module.name])
  if not module.name.startswith("kdmri_jax.scripts.")  # each defines flags of its own
]
LINKED = ("experiments", "scripts")  # top-level folders that the package links to


def imports(path):
  """The names of the modules that a file imports, or imports a name from."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      for alias in node.names:
        full = f"{node.module}.{alias.name}"
        yield full if full in FILES else node.module


def name_of(path):
  """The dotted name of a module of the package."""
  name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
  return name.removesuffix(".__init__")


FILES = {
  name_of(path): path
  for folder in (PACKAGE, *(PACKAGE / name for name in LINKED))
  for path in sorted(folder.rglob("*.py"))  # follows no links
}


def part_of(name):
  """The part of the package that a module belongs to; the test knows all of them."""
  part = name.split(".")[1]
  assert part in LEVEL, f"{name}: give this part its place in ORDER"
  return part


def test_imports_run_one_way():
  for name, path in FILES.items():
    for other in imports(path):
      if "kdmri_jax" in (name, other) or not other.startswith("kdmri_jax."):
        continue
      above, below = LEVEL[part_of(name)], LEVEL[part_of(other)]
      same = part_of(name) == part_of(other) or above == below == 0
      assert same or below < above, f"{path} imports {other}"


def test_no_module_imports_itself_through_others():
  lazy = "kdmri_jax"  # imports what it offers when that is first used
  edges = {
    n: {o for o in imports(p) if o in FILES and o not in (n, lazy)}
    for n, p in FILES.items()
  }
  done = set()

  def visit(name, path):
    assert name not in path, " -> ".join([*path[path.index(name) :], name])
    if name not in done:
      for other in sorted(edges[name]):
        visit(other, [*path, name])
      done.add(name)

  for name in FILES:
    visit(name, [])


def test_one_module_writes_json():
  """So that no JSON has NaN, which is no JSON."""
  for name, path in FILES.items():
    found = {"json", "orjson", "simplejson"} & set(imports(path))
    assert not found or name == "kdmri_jax.json_text", path


def test_the_package_links_to_the_one_copy_of_experiments_and_scripts():
  for name in LINKED:
    assert (PACKAGE / name).readlink() == pathlib.Path("..", name)


def test_experiments_import_no_library_but_ml_collections():
  known = {*sys.stdlib_module_names, "ml_collections"}
  ours = ("kdmri_jax.experiments", "kdmri_jax.config")
  for path in sorted((ROOT / "experiments").glob("*.py")):
    for name in imports(path):
      assert name.startswith(ours) or name.split(".")[0] in known, (path, name)


def test_the_public_part_is_documented():
  for name in MODULES:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for key, value in vars(module).items():
      own = getattr(value, "__module__", None) == name
      if key == "get_config":  # the module's docstring tells the experiment
        continue
      if not key.startswith("_") and own and callable(value):
        assert inspect.getdoc(value), f"{name}.{key} has no docstring"


def test_the_scripts_are_documented():
  for path in sorted((ROOT / "scripts").glob("*.py")):
    assert ast.get_docstring(ast.parse(path.read_text())), path


def test_files_stay_readable_in_one_sitting():
  for folder in ("kdmri_jax", "scripts", "experiments"):
    for path in (ROOT / folder).rglob("*.py"):
      assert len(path.read_text().splitlines()) <= 350, path


def test_library_code_names_no_flag_and_no_key():
  """Its errors name arguments and files; their callers know keys and flags."""
  rooms = ("data", "distillation", "inference", "io", "losses", "metrics", "models")
  for room in (*rooms, "ops", "physics", "statistics"):
    for path in (PACKAGE / room).rglob("*.py"):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith(
          "Error"
        ):
          texts = [
            part.value
            for part in ast.walk(node)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
          ]
          for text in texts:
            assert not re.search(r"(^|[ ('])--[a-z]|--config", text), (path, text)
            assert "Correct it." not in text, (path, text)


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
