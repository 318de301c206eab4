"""Helpers for reading files: errors, limits, and names without endings."""

import contextlib
import math
import os
import pathlib
from collections.abc import Iterator

from kdmri_jax.errors import UserError


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
  """Turns any exception about a damaged file into a `UserError`.

  Libraries have no common exception for damaged files: nearly any type may occur.

  Args:
    path: the file that is read inside the `with` block.
  """
  try:
    yield
  except (UserError, ImportError):
    raise
  except Exception as error:
    found = f"a file that cannot be read ({type(error).__name__}: {error})"
    expected = "a complete file of the format of its name"
    remedy = "It is probably truncated or damaged: copy or download it again."
    if isinstance(error, FileNotFoundError | PermissionError):
      remedy = "Check its name and its permissions."
    raise UserError(path, found, expected, remedy) from error


def refuse_huge(path: pathlib.Path, shape: tuple[int, ...], itemsize: int) -> None:
  """Refuses an array that is larger than this machine's memory, before it is read.

  Args:
    path: its file.
    shape: of the array by the file's header.
    itemsize: bytes of a value in memory.

  Raises:
    UserError: it needs more memory than the machine has.
  """
  needed = math.prod(shape) * itemsize
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  if needed > memory:
    found = f"an array of shape {shape}, {needed / 2**30:.0f} GiB"
    expected = f"one that fits into this machine's memory of {memory / 2**30:.0f} GiB"
    remedy = "Divide the volume into several files, or repair a damaged header."
    raise UserError(path, found, expected, remedy)


def split_name(path: pathlib.Path) -> tuple[str, str]:
  """A file's name without its suffix, and the suffix; .nii.gz is one suffix."""
  for suffix in (".nii.gz", path.suffix):
    if suffix and path.name.lower().endswith(suffix.lower()):
      return path.name[: -len(suffix)], suffix.lower()
  return path.name, ""
