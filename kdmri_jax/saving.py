"""Writes files so that a failure destroys nothing, with an error that helps."""

import contextlib
import errno
import io
import os
import pathlib
import re
import shutil
import signal
import sys
from collections.abc import Iterator

from kdmri_jax import scratch
from kdmri_jax.errors import UserError


@contextlib.contextmanager
def saving(path: str | os.PathLike) -> Iterator[None]:
  """Turns a failure to write `path` within the block into a `UserError`."""
  try:
    yield
  except (OSError, ValueError, RuntimeError) as error:
    code = _system_error(error)
    if code is None:
      raise
    if code == errno.ELOOP:
      expected = "a file or folder of its own"
      remedy = "Remove the link, then start the same command again."
      raise UserError(path, "a symbolic link", expected, remedy) from error
    found, remedy = f"a failed write ({os.strerror(code)})", "Choose another folder"
    if code in (errno.ENOSPC, errno.EDQUOT):
      found, remedy = "no space left on the disk", "Free space or choose another folder"
    elif code in (errno.ENOENT, errno.ENOTDIR):
      found, remedy = _in_the_way(pathlib.Path(path))
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
      remedy = "Correct its permissions or choose another folder"
    remedy += ", then start the same command again. Files saved before are intact."
    raise UserError(path, found, "a folder that can be written", remedy) from error


def _in_the_way(path: pathlib.Path) -> tuple[str, str]:
  """The first part of a path that is missing or no folder, and the remedy."""
  parts = [*reversed(path.absolute().parents), path]
  first = next((part for part in parts if not part.is_dir()), path)
  if first.exists():
    return f"a file {first} in the place of a folder", "Rename the file"
  return f"no folder {first}", "Create this folder"


def require_space(directory: str | os.PathLike, size: int) -> None:
  """Refuses to begin a write for which there is no room.

  Args:
    directory: where files will be written; must exist.
    size: bytes that will be needed.

  Raises:
    UserError: less is free.
  """
  with saving(directory):
    if shutil.disk_usage(directory).free < size:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def printing() -> Iterator[None]:
  """Ends a command in order where its output can no longer be written.

  A name that the terminal's encoding lacks is printed with escapes. Where the reader of
  a pipe has gone (`kdmri evaluate ... | head -1`), the command ends at once, with the
  status that shells expect. Where there is no room for the output, it ends with an
  error of one paragraph.
  """
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")
  try:
    try:
      yield
    finally:
      sys.stdout.flush()
  except OSError as error:
    if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO):
      raise
    # What is still buffered goes nowhere, or Python complains once more at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    if error.errno == errno.EPIPE:
      sys.exit(128 + signal.SIGPIPE)
    found, expected = f"a failed write ({error.strerror})", "room for the output"
    remedy = "Free space, or let the output go to another place."
    sys.exit(f"\nerror: {UserError('standard output', found, expected, remedy)}")


def make_folder(path: str | os.PathLike) -> None:
  """Creates a folder, and those above it, where they are missing.

  Raises:
    UserError: it cannot be created, or something else has its name.
  """
  path = pathlib.Path(path)
  with saving(path):
    try:
      path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
      part = next(part for part in (path, *path.parents) if os.path.lexists(part))
      found, remedy = "a file", "Move it, or choose another folder."
      if part.is_symlink():
        found = f"a link to {os.readlink(part)}, which is no folder"
        remedy = "Create that folder, or remove the link."
      raise UserError(part, found, "a folder, or a new name", remedy) from None


def new_folder(path: str | os.PathLike) -> pathlib.Path:
  """The folder behind the links of a path, which a new one will replace as a whole.

  Raises:
    UserError: something is in it; or it cannot be replaced.
  """
  folder, found = pathlib.Path(os.path.realpath(path)), ""
  with saving(folder):
    if os.path.lexists(folder) and not folder.is_dir():
      found = "a file"
    elif folder.is_dir() and any(folder.iterdir()):
      found = "a folder that is not empty"
    elif folder.is_mount() or folder == pathlib.Path.cwd():
      found = "the root of a disk, or the folder of this command"
  if found:
    expected = "a folder that does not exist yet or is empty"
    remedy = "Choose another folder; nothing was overwritten."
    raise UserError(path, found, expected, remedy)
  return folder


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a temporary path that replaces `path`, a file or folder, after the block.

  Of a link the link itself is replaced, not what it leads to. A folder can only replace
  an empty one.

  Raises:
    UserError: it cannot be written; `path` is then as it was.
  """
  path = pathlib.Path(path)
  with saving(path), scratch.folder_in(path.parent) as folder:
    yield folder / path.name
    os.replace(folder / path.name, path)


def _system_error(error: Exception) -> int | None:
  """The system's error number; TensorStore and h5py give it in a message."""
  if isinstance(error, OSError) and error.errno:
    return error.errno
  hidden = re.search(r"(?:os_error_code='|errno = )(\d+)", str(error))
  return int(hidden.group(1)) if hidden else None
