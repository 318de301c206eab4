"""Builds the convolutions in C++; everything else stands in pyproject.toml.

Without a C++ compiler the package installs without them and computes by XLA alone.
"""

import importlib.util
import pathlib
import platform
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = pathlib.Path("kdmri_jax", "ops", "native")
X86 = platform.machine().lower() in ("x86_64", "amd64")
# The same source for each set of instructions; `native` takes the best that runs.
INSTRUCTIONS = {"default": []}
if X86:
  INSTRUCTIONS |= {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mavx512f", "-mfma"]}
  INSTRUCTIONS["avx512bf16"] = [*INSTRUCTIONS["avx512"], "-mavx512bf16"]
# Hidden, what two libraries both have stays apart.
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fvisibility=hidden"]


class BuildLibrary(build_ext):
  """Names a library as what it is: one that is loaded, not imported."""

  def get_ext_filename(self, fullname):
    *folders, name = fullname.split(".")
    return str(pathlib.Path(*folders, f"convolution.{name}.so"))


def libraries():
  jaxlib = importlib.util.find_spec("jaxlib")
  if jaxlib is None:
    sys.exit("error: jaxlib is missing, whose headers are needed: pip install jaxlib")
  (folder,) = jaxlib.submodule_search_locations
  for name, flags in INSTRUCTIONS.items():
    yield Extension(
      f"kdmri_jax.ops.native.{name}",
      [str(NATIVE / "convolution.cc")],
      depends=["setup.py", *map(str, NATIVE.glob("*.h"))],
      include_dirs=[str(pathlib.Path(folder, "include"))],
      extra_compile_args=[*FLAGS, *flags],
      language="c++",
      optional=True,
    )


setup(ext_modules=list(libraries()), cmdclass={"build_ext": BuildLibrary})
