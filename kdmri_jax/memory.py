"""Lets the C library keep the memory that XLA frees between two steps."""

import ctypes
import platform

# Parameter numbers of glibc's malloc.h, and their new values.
_SETTINGS = {
  "M_TRIM_THRESHOLD": (-1, -1),  # never shrink the heap
  "M_MMAP_MAX": (-4, 0),  # large blocks come from the heap, too
  "M_ARENA_MAX": (-8, 1),  # one heap for all threads, since others are small
}


def keep_freed() -> bool:
  """Makes this process keep freed memory; returns whether that succeeded.

  On a CPU, XLA allocates the temporary values in each step. By default glibc maps such
  blocks and unmaps them, and the kernel clears every page again: about a tenth of a
  training step. Afterwards the process holds its peak memory. No effect without glibc.
  """
  if platform.libc_ver()[0] != "glibc":
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all([mallopt(*setting) for setting in _SETTINGS.values()])
