"""A second command loads what the first one compiled."""

import os
import subprocess
import sys

import pytest

_CODE = """
import sys
from absl import app
from kdmri_jax import cli

def main(_):
  import jax, jax.numpy as jnp
  events = []
  jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
  x = jnp.ones((64, 64))
  for _ in range(2):
    jax.jit(lambda x: jnp.linalg.svd(x + 1)[1])(x).block_until_ready()
  print("hits", events.count("/jax/compilation_cache/cache_hits"))

cli.run_main(main)
"""


def hits(folder, **environment):
  kept = {k: v for k, v in os.environ.items() if "CACHE" not in k}
  environment = {"XDG_CACHE_HOME": str(folder), **environment}
  shortest = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  done = subprocess.run(
    [sys.executable, "-c", _CODE],
    env=kept | shortest | environment,
    capture_output=True,
    text=True,
    check=True,
  )
  assert not done.stderr
  return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_a_second_command_loads_what_the_first_compiled(tmp_path):
  first, second = hits(tmp_path), hits(tmp_path)
  assert second > first
  off = hits(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")
  assert off == 0
