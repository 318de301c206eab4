"""Lets the C library keep the memory that XLA frees between two steps."""

import ctypes
import platform
from collections.abc import Mapping

# Parameter numbers of glibc's malloc.h, and their new values.
_KEEP = {
  "M_TRIM_THRESHOLD": (-1, -1),  # never shrink the heap
  "M_MMAP_MAX": (-4, 0),  # large blocks come from the heap, too
  "M_ARENA_MAX": (-8, 1),  # one heap for all threads, since others are small
}
LARGE = 2**25  # bytes of the smallest block that is given back
_GIVE_BACK = {
  "M_MMAP_MAX": (-4, 2**16),  # glibc's own value
  "M_MMAP_THRESHOLD": (-3, LARGE),
}


def keep_freed() -> bool:
  """Makes this process keep freed memory; returns whether that succeeded.

  On a CPU, XLA allocates the temporary values in each step. By default glibc maps such
  blocks and unmaps them, and the kernel clears every page again: about a tenth of a
  training step. Afterwards the process holds its peak memory, or several times that:
  a freed block that lost a part to small values does not hold the next step's block. No
  effect without glibc.
  """
  return _set(_KEEP)


def give_back_large() -> bool:
  """Makes this process give back blocks of `LARGE` bytes; returns whether it does.

  For networks with `recompute`, which trade time for memory.
  """
  return _set(_GIVE_BACK)


def _set(settings: Mapping[str, tuple[int, int]]) -> bool:
  if platform.libc_ver()[0] != "glibc":
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all([mallopt(*setting) for setting in settings.values()])
