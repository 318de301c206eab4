"""A second process finds what the first one compiled."""

import os
import subprocess
import sys

import pytest

_TRAINS = """
import collections, pathlib, sys
from kdmri_jax import compiled
compiled.keep()
import jax
found = collections.Counter()
jax.monitoring.register_event_listener(
  lambda event, **_: found.update([event.rpartition("/")[2]])
)
from helpers.tiny import make, train
train(make(pathlib.Path(sys.argv[1]), devices=1, epochs=1), ["student"])
print(found["cache_misses"], found["cache_hits"])
"""


@pytest.mark.slow
def test_it_compiles_nothing_anew_for_a_training(tmp_path):
  environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
  environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
  for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
    environment.pop(name, None)
  counts = []
  for run in ("first", "second"):
    command = [sys.executable, "-c", _TRAINS, tmp_path / run]
    done = subprocess.run(
      command, env=environment, capture_output=True, text=True, check=True
    )
    counts.append([int(word) for word in done.stdout.split()[-2:]])
  (compiled, _), (anew, read) = counts
  assert compiled > 5
  assert anew == 0 and read >= compiled
