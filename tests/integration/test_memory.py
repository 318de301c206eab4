"""Freed memory stays in the process, as the C library itself says."""

import ctypes
import platform
import subprocess
import sys

import pytest

from kdmri_jax import memory

SIZE = 64 * 2**20

# Fields of glibc's mallinfo2: blocks that are mapped apart, and bytes free in the heap.
_REPORT = """
import ctypes, sys
from kdmri_jax import memory
if sys.argv[1] != "default":
  assert memory.keep_freed()
if sys.argv[1] == "large given back":
  assert memory.give_back_large()
libc = ctypes.CDLL(None)

class Info(ctypes.Structure):
  _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.malloc.argtypes, libc.mallinfo2.restype = [ctypes.c_size_t], Info
before = libc.mallinfo2()
block = libc.malloc(int(sys.argv[2]))
mapped = libc.mallinfo2().d - before.d
libc.free(block)
print(mapped, libc.mallinfo2().i)
"""


def report(how, size=SIZE):
  command = [sys.executable, "-c", _REPORT, how, str(size)]
  done = subprocess.run(command, capture_output=True, check=True)
  return tuple(map(int, done.stdout.split()))


has_report = pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
  reason="glibc 2.33 or newer",
)


@has_report
def test_large_blocks_come_from_the_heap_and_stay_there():
  mapped, free = report("kept")
  assert mapped == 0 and free >= SIZE
  mapped, free = report("default")
  assert mapped == 1 and free < SIZE


@has_report
def test_for_recompute_large_blocks_are_given_back_and_others_stay():
  mapped, free = report("large given back")
  assert mapped == 1 and free < SIZE
  size = memory.LARGE // 2
  mapped, free = report("large given back", size)
  assert mapped == 0 and free >= size
