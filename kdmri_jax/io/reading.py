"""Helpers for reading files: errors, limits, and names without endings."""

import contextlib
import math
import os
import pathlib
import stat
from collections.abc import Iterator, Sequence

from kdmri_jax.errors import UserError

_MEBIBYTE = 1 << 20
HARMLESS = 64 * _MEBIBYTE  # bytes below which a claim needs no proof in the file
_POINTER = 1024  # bytes that a pointer file of git-annex or Git LFS has at most
# How the content of files begins that often bear another format's name.
_BEGINNINGS = {
  b"<!doctype html": "a web page",
  b"<html": "a web page",
  b"PK\x03\x04": "a zip archive",
  b"\x1f\x8b": "gzip data",
  b"7z\xbc\xaf": "a 7z archive",
  b"Rar!": "a RAR archive",
  b"\x89HDF\r\n": "HDF5",
  b"CDF\x01": "netCDF",
  b"MATLAB 5.0": "a MATLAB file",
  b"\x93NUMPY": "a NumPy array (.npy)",
}
# The endings of files that do begin so.
_ENDINGS = {
  "a zip archive": (".npz", ".pt", ".pth"),
  "gzip data": (".gz", ".nii"),
  "HDF5": (".h5", ".hdf5", ".mat", ".mrd", ".nc"),
  "a MATLAB file": (".mat",),
  "a NumPy array (.npy)": (".npy",),
}
MOST_COMPRESSED = 200  # times that compressed images of a scanner may grow


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
  """Turns any exception about a damaged file into a `UserError`.

  Libraries have no common exception for damaged files: nearly any type may occur.

  Args:
    path: the file that is read inside the `with` block.

  Raises:
    UserError: also before the block, for a path that `refuse_special` refuses.
  """
  refuse_special(path)
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
    elif content := _content(path):
      found += f", whose content begins as {content}"
      remedy = "Give it the name of its format, or unpack it, if it is an archive."
      if content == "a web page":
        remedy = "The download went wrong, perhaps without signing in: repeat it."
    raise UserError(path, found, expected, remedy) from error


def _content(path) -> str:
  """What a file that cannot be read seems to be; "" where it may be as it is named."""
  with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
    head = file.read(512).lstrip(b"\xef\xbb\xbf \r\n\t")
    for beginning, content in _BEGINNINGS.items():
      if head.lower().startswith(beginning.lower()):
        return "" if str(path).lower().endswith(_ENDINGS.get(content, ())) else content
  return ""


def refuse_special(path: str | os.PathLike) -> None:
  """Refuses a pipe, a socket or a device, which may block or never end.

  Raises:
    UserError: the path is one of these, or as `refuse_missing`; a file, a folder or no
      path at all passes.
  """
  refuse_missing(path)
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError):
    return
  if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    found = kinds.get(stat.S_IFMT(mode), "a device")
    remedy = "Write its content into a file, and name that."
    raise UserError(path, found, "a regular file", remedy)


def refuse_missing(path: str | os.PathLike) -> None:
  """Refuses a link to nothing, and what git-annex or Git LFS put in a file's place.

  Raises:
    UserError: the path is one of these; the remedy fetches the content.
  """
  path = pathlib.Path(path)
  found = content = ""
  with contextlib.suppress(OSError, ValueError):
    if path.is_symlink() and not os.path.exists(path):
      content = os.readlink(path)
      found = f"a link to {content}, where no file is found"
    elif path.is_file() and path.stat().st_size <= _POINTER:
      content = path.read_bytes()[:_POINTER].decode(errors="replace")
      if content.startswith(("/annex/objects/", "version https://git-lfs")):
        found = "a pointer to content that has not been fetched"
  if not found:
    return
  remedy = "Restore what it points to, or remove the link."
  if "annex/objects/" in content:
    remedy = f"Fetch its content with: git annex get {path.name} (or datalad get)."
  elif found.startswith("a pointer"):
    remedy = "Fetch its content with: git lfs pull."
  raise UserError(path, found, "the file itself", remedy)


def refuse_huge(
  path: str | os.PathLike,
  shape: Sequence[int],
  itemsize: int,
  *,
  stored: int | None = None,
  compressed: bool = False,
  at_once: bool = True,
) -> None:
  """Refuses an array that the file cannot hold or the memory cannot, before it is read.

  Args:
    path: its file.
    shape: of the array by the file's header.
    itemsize: bytes of a value.
    stored: bytes in the file that hold the array; None: up to the whole file.
    compressed: whether these may be compressed or left out. An array of up to
      `HARMLESS` bytes then passes, a larger one if it is at most `MOST_COMPRESSED`
      times as large as the bytes in the file.
    at_once: whether the whole array is read into memory.

  Raises:
    UserError: the array is larger.
  """
  needed, size = math.prod(map(int, shape)) * itemsize, os.path.getsize(path)
  stored = size if stored is None else min(stored, size)
  most = max(HARMLESS, MOST_COMPRESSED * stored) if compressed else stored
  text = " x ".join(map(str, shape))
  if needed > most:
    claimed = f"{stored} bytes for an array of {text} values, {needed} bytes"
    found = f"a file that cannot be read ({claimed})"
    expected = "as many bytes as the array has"
    if compressed:
      expected = f"at most {MOST_COMPRESSED} times as many bytes as the file holds"
    remedy = "It is truncated, damaged or harmful: copy it again from its source."
    raise UserError(path, found, expected, remedy)
  if at_once:
    refuse_memory(path, shape, itemsize)


def refuse_memory(path: str | os.PathLike, shape: Sequence[int], itemsize: int) -> None:
  """Refuses an array that is larger than the available memory, before it is read.

  Args:
    path: its file.
    shape: of the array.
    itemsize: bytes of a value.

  Raises:
    UserError: the array is larger.
  """
  needed = math.prod(map(int, shape)) * itemsize
  if needed > (memory := available_memory()):
    found = f"an array of shape {tuple(shape)}, {needed / 2**30:.1f} GiB"
    expected = f"one that fits into the {memory / 2**30:.1f} GiB of available memory"
    remedy = "Close other programs, or divide the volume into several files."
    raise UserError(path, found, expected, remedy)


def available_memory(root: pathlib.Path = pathlib.Path("/")) -> int:
  """Bytes that this process can still take, without swapping.

  Args:
    root: of the file system that tells it.

  Returns:
    What the machine can give away or, where that is less, what is left of the limits of
    a container or a batch system (control groups).
  """
  free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  with contextlib.suppress(OSError, ValueError, IndexError):
    for line in (root / "proc/meminfo").read_text().splitlines():
      if line.startswith("MemAvailable:"):
        free = int(line.split()[1]) * 1024
  return min([free, *_left_in_groups(root)])


def _left_in_groups(root: pathlib.Path) -> Iterator[int]:
  """Bytes left in each control group of this process that has a limit."""
  lines = []
  with contextlib.suppress(OSError):
    lines = (root / "proc/self/cgroup").read_text().splitlines()
  for line in lines:
    number, kinds, name = line.split(":", 2)
    base, keys = root / "sys/fs/cgroup", ("memory.max", "memory.current")
    cache = "inactive_file"  # which the kernel gives back
    if number != "0":
      if "memory" not in kinds.split(","):
        continue
      base, keys = base / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
      cache = "total_inactive_file"
    own = base / name.strip("/")
    for folder in (own, *own.parents):
      if not folder.is_relative_to(base):
        break
      with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
        limit, used = (int((folder / key).read_text()) for key in keys)
        stat = dict(map(str.split, (folder / "memory.stat").read_text().splitlines()))
        yield max(0, limit - used + int(stat.get(cache, 0)))


def split_name(path: pathlib.Path) -> tuple[str, str]:
  """A file's name without its suffix, and the suffix; .nii.gz is one suffix."""
  for suffix in (".nii.gz", path.suffix):
    if suffix and path.name.lower().endswith(suffix.lower()):
      return path.name[: -len(suffix)], suffix.lower()
  return path.name, ""
