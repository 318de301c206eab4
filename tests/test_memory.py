"""Memory that was freed is used again, which the kernel's page faults tell."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from kdmri_jax import memory
if sys.argv[1] == "kept":
  assert memory.keep_freed()
import jax, numpy as np

def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

step = jax.jit(lambda x: ((jax.numpy.exp(x).sum(0) * x + 2 * x) @ x).sum())
x = np.ones((2048, 2048), np.float32)
for _ in range(3):
  step(x).block_until_ready()
before = faults()
for _ in range(5):
  step(x).block_until_ready()
print(faults() - before)
"""


def page_faults(how):
  command = [sys.executable, "-c", _FAULTS, how]
  return int(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_steps_use_freed_memory_again():
  assert page_faults("kept") < page_faults("default") / 10
