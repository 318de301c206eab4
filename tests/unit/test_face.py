"""The public face, `import kdmri_jax as kd`: each name on purpose, and annotated."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys
import types

import pytest

import kdmri_jax as kd
from kdmri_jax.distillation import METHODS

PACKAGE = pathlib.Path(kd.__file__).parent

# The public names by room; adding or removing one is a decision.
FACE = {
  "": "coils distillation load load_pretrained losses masks metrics models plot "
  "statistics train undersample",
  "coils": "add_phase adjoint cg_sense estimate forward noise_covariance prewhiten "
  "simulate",
  "distillation": " ".join(["METHODS", *METHODS]),
  "losses": "l1 mse ssim",
  "masks": "cartesian central equispaced full gaussian2d load save",
  "metrics": "METRICS Metric OPTIONAL all hfen hfn mse nmse per_slice psnr resolve "
  "roi_snr ssim vif",
  "models": "DCCNN EDSR NETWORKS SwinIR UNet VDSR VarNet build channels describe "
  "features find_network",
  "plot": "comparison",
  "statistics": "Comparison Effect Equivalence Share compare mixed_effects "
  "share_of_gap",
}

pytestmark = pytest.mark.usefixtures("quick_compilation")


def room(name):
  return getattr(kd, name) if name else kd


@pytest.mark.parametrize("name", FACE)
def test_every_public_name_is_there_on_purpose(name):
  assert sorted(room(name).__all__) == sorted(FACE[name].split())
  assert {*room(name).__all__} <= {*dir(room(name))}
  for key in room(name).__all__:
    found = getattr(room(name), key)
    if callable(found) or isinstance(found, types.ModuleType):
      assert inspect.getdoc(found), f"{name}.{key}"


def test_no_name_is_invented():
  for name in ("", "distillation"):
    with pytest.raises(AttributeError, match="no attribute 'masc'"):
      _ = room(name).masc


def test_the_import_takes_neither_jax_nor_matplotlib():
  code = (
    "import sys, kdmri_jax as kd\n"
    "assert kd.masks.cartesian((64, 64)).sum() == 16 * 64\n"
    "dir(kd)\n"
    "sys.exit(bool({'jax', 'matplotlib', 'flax'} & {*sys.modules}))"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_function_is_annotated():
  """In all of the package, not only in what the rooms export."""
  for path in sorted(PACKAGE.rglob("*.py")):
    if path.relative_to(PACKAGE).parts[0] in ("experiments", "scripts"):
      continue
    for name, function in public_functions(ast.parse(path.read_text()).body):
      arguments = function.args
      every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
      every += filter(None, (arguments.vararg, arguments.kwarg))
      own = every[1:] if every and every[0].arg in ("self", "cls") else every
      bare = [argument.arg for argument in own if argument.annotation is None]
      assert not bare, f"{path}:{function.lineno} {name}: {', '.join(bare)}"
      if name != "__init__":
        assert function.returns, f"{path}:{function.lineno} {name}: no return type"


def public_functions(body):
  """Functions of a module and methods of its classes, where no name hides them."""
  for node in body:
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
      yield from public_functions(node.body)
    called = getattr(node, "name", "_") in ("__init__", "__call__")
    if isinstance(node, ast.FunctionDef) and (called or node.name[0] != "_"):
      yield node.name, node


def test_type_checkers_see_the_same_names():
  """The names of `__getattr__` are imported for type checkers, one for one."""
  tree = ast.parse((PACKAGE / "__init__.py").read_text())
  (block,) = (
    node
    for node in tree.body
    if isinstance(node, ast.If) and "TYPE" in ast.unparse(node.test)
  )
  seen = {}
  for line in block.body:
    for alias in line.names:
      module = importlib.import_module(line.module)
      full = f"{line.module}.{alias.name}"
      seen[alias.name] = getattr(module, alias.name, None) or importlib.import_module(
        full
      )
  assert {*seen} == {*kd.__all__}
  assert all(getattr(kd, name) is value for name, value in seen.items())
  assert (PACKAGE / "py.typed").is_file()
