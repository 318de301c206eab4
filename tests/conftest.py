"""What every test shares: eight host devices, and the folders of numbers and images."""

import os
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdmri_jax.training import parallel

jax.config.update("jax_platforms", "cpu")
parallel.use_cores(at_least=8)

GOLDEN = pathlib.Path(__file__).parent / "golden"


def pytest_configure(config):
  """What one test or process has compiled, others load, as long as the tests run."""
  if hasattr(config, "workerinput"):
    return
  folder = tempfile.TemporaryDirectory(prefix="compiled-")
  config.add_cleanup(folder.cleanup)
  settings = {
    "jax_compilation_cache_dir": folder.name,
    "jax_persistent_cache_min_compile_time_secs": 0.1,
  }
  for name, value in settings.items():
    os.environ[name.upper()] = str(value)
    jax.config.update(name, value)


@pytest.fixture(scope="module")
def quick_compilation():
  """Compiles without most optimisations: for tests of behaviour, not of numbers."""
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


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
