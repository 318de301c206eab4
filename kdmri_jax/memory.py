"""Lets the C library keep the memory that XLA gives back between two steps."""

import ctypes
import platform

# Numbers of glibc's malloc.h, and what they are set to.
_SETTINGS = {
  "M_TRIM_THRESHOLD": (-1, -1),  # never shrink the heap
  "M_MMAP_MAX": (-4, 0),  # large blocks come from the heap, too
  "M_ARENA_MAX": (-8, 1),  # one heap for all threads, since others are small
}


def keep_freed() -> bool:
  """Makes this process keep what it has freed; whether that could be done.

  On a CPU, XLA allocates the temporary values of a step anew in each step. By default
  glibc maps such blocks and unmaps them, and the kernel clears every page again: about
  a tenth of a training step. Afterwards the process holds as much memory as it has
  needed at most. Of no effect without glibc.
  """
  if platform.libc_ver()[0] != "glibc":
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all([mallopt(*setting) for setting in _SETTINGS.values()])
