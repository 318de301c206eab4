"""Settings of all tests: eight host devices, compiled code, a memory limit."""

import os

# Processes that run tests at once have a core each, for which more threads would fight.
# NumPy reads this when it is imported; processes that tests start inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import ctypes
import gc
import pathlib
import platform
import resource
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.training import parallel

gc.set_threshold(100_000)  # traces make many objects, few of them garbage
jax.config.update("jax_platforms", "cpu")
parallel.use_cores(at_least=8)

GOLDEN = pathlib.Path(__file__).parent / "golden"


ENOUGH = 1.2  # GB
PEAK = pytest.StashKey[dict[str, float]]()


def pytest_addoption(parser):
  parser.addoption(
    "--memory-limit",
    type=float,
    metavar="GB",
    help="fail where a process that ran tests has held more memory than this",
  )
  parser.addoption(
    "--flips", type=int, default=0, help="bits to flip in each file of a work directory"
  )


def pytest_configure(config):
  """A compilation cache that all tests and processes share during a run."""
  if hasattr(config, "workerinput"):
    return
  folder = tempfile.TemporaryDirectory(prefix="compiled-")
  config.add_cleanup(folder.cleanup)
  settings = {
    "jax_compilation_cache_dir": folder.name,
    "jax_persistent_cache_min_compile_time_secs": 0.0,
  }
  for name, value in settings.items():
    os.environ[name.upper()] = str(value)
    jax.config.update(name, value)


def peak():
  """The largest resident size of this process so far, in GB."""
  size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return size * (1 if platform.system() == "Darwin" else 1024) / 1e9


def resident():
  """The resident size of this process, in GB; where that is not told, its `peak`."""
  pages = pathlib.Path("/proc/self/statm")
  if not pages.exists():
    return peak()
  return int(pages.read_text().split()[1]) * resource.getpagesize() / 1e9


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
  """A worker of pytest-xdist has ended."""
  peaks = node.config.stash.setdefault(PEAK, {})
  peaks[node.gateway.id] = getattr(node, "workeroutput", {}).get("peak", 0.0)


def pytest_sessionfinish(session):
  config = session.config
  if hasattr(config, "workerinput"):
    config.workeroutput["peak"] = peak()
    return
  peaks = config.stash.setdefault(PEAK, {"this process": peak()})
  limit = config.getoption("--memory-limit")
  if limit and max(peaks.values()) > limit:
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
  peaks = config.stash.get(PEAK, {})
  limit = config.getoption("--memory-limit")
  text = ", ".join(f"{name} {size:.1f} GB" for name, size in sorted(peaks.items()))
  over = limit and max(peaks.values()) > limit
  verdict = f"; the limit is {limit:g} GB" if over else ""
  terminalreporter.write_line(f"largest memory: {text}{verdict}", red=bool(over))


@pytest.fixture(autouse=True)
def little_memory():
  """Gives back what has been compiled when it fills the memory.

  What was compiled is loaded again from the folder of `pytest_configure`.
  """
  yield
  if resident() > ENOUGH:
    gc.collect()
    jax.clear_caches()
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
      ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module")
def quick_compilation():
  """Compiles without most optimisations: for tests of behaviour, not of numbers."""


def pytest_collection_modifyitems(items):
  """Tests with `quick_compilation` come first, so that they share what is compiled."""
  items.sort(key=lambda item: "quick_compilation" not in item.fixturenames)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
  """Compiles as the test asks for, before its fixtures are made.

  Functions that were compiled otherwise are compiled again. Without that, equal runs
  would differ in their last bits if memory is given back between them. Processes that
  the test starts compile alike.
  """
  quick = "quick_compilation" in item.fixturenames
  os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quick)
  if quick != jax.config.read("jax_disable_most_optimizations"):
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", quick)


@pytest.fixture
def golden():
  """Reads a file of golden numbers by name: a dict of arrays."""

  def read(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
      return dict(file)

  return read


@pytest.fixture
def golden_pair(golden):
  """Three layers of a student and a teacher, whose losses are golden numbers."""
  numbers = golden("kd_losses")
  return tuple(
    tuple(jnp.asarray(numbers[f"{role}_{k}"]) for k in range(3))
    for role in ("student", "teacher")
  )


@pytest.fixture
def real_data():
  """Folder of real images: KDMRI_DATA, or `shared/data` beside the repository."""
  beside = pathlib.Path(__file__).parents[2] / "shared" / "data"
  folder = pathlib.Path(os.environ.get("KDMRI_DATA", beside))
  if not folder.is_dir():
    pytest.skip(f"no real images: {folder} is absent; set KDMRI_DATA to read some")
  return folder
