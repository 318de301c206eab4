"""The settings of XLA join those that are given, and do what they are for."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

MANY_FFTS = """
import kdmri_jax, jax, jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", 2)

def step(x):
  for _ in range(10):
    x = x + 0.1 * jnp.fft.irfft(jnp.fft.rfft(x, axis=1), n=240, axis=1)
    x = x + jax.lax.pmean(x.mean(), "devices")
  return x

step = jax.pmap(step, axis_name="devices")
for _ in range(20):
  step(jnp.ones((2, 2, 240, 240))).block_until_ready()
"""


def run(code, **environment):
  return subprocess.run(
    [sys.executable, "-c", code],
    env={**os.environ, **environment},
    capture_output=True,
    text=True,
    timeout=900,  # a deadlock
  )


def test_ffts_on_several_host_devices_end():
  assert run(MANY_FFTS, XLA_FLAGS="").returncode == 0


@pytest.mark.parametrize("given", ["", "--xla_cpu_multi_thread_eigen=true", "--x=1"])
def test_the_flag_joins_those_that_are_given(given):
  code = "import kdmri_jax, os; print(os.environ.get('XLA_FLAGS', ''))"
  flags = run(code, XLA_FLAGS=given).stdout.strip()
  affected = importlib.metadata.version("jaxlib") >= "0.11"
  added = "--xla_cpu_multi_thread_eigen=false"
  if affected and "eigen" not in given:
    assert flags.split() == [*given.split(), added]
  else:
    assert flags == given
