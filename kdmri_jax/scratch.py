"""Temporary folders beside the files that they will replace, and what kills leave.

Such a folder has an unpredictable name and no access for others, so nobody can plant a
link in it. The process that writes there holds a lock on it. A folder with such a name
and without a lock was left by a killed process: the next process that writes beside it
removes it.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import re
import secrets
import shutil
import stat
from collections.abc import Iterator

_NAME = re.compile(r"\.kdmri-[0-9a-f]{16}\.tmp")
_LOCK = ".lock"  # beside the file or folder that is written there


def without_links(path: str | os.PathLike, flags: int) -> int:
  """An `opener` for `open` that refuses a link, and all that is no regular file.

  Raises:
    OSError: ELOOP for a link, else ENXIO.
  """
  descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
  if not stat.S_ISREG(os.fstat(descriptor).st_mode):
    os.close(descriptor)
    raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), str(path))
  return descriptor


@contextlib.contextmanager
def folder_in(parent: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a new temporary folder in `parent`; removes it after the block.

  Leftovers of killed processes in `parent` are removed first.

  Raises:
    OSError: it cannot be created.
  """
  sweep(parent)
  folder, lock = _create(parent)
  try:
    yield folder
  finally:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def sweep(parent: pathlib.Path) -> None:
  """Removes the temporary folders in `parent` that killed processes left."""
  with contextlib.suppress(OSError), os.scandir(parent) as entries:
    for entry in list(entries):
      if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
        with contextlib.suppress(OSError):
          _remove_unused(parent / entry.name)


def sweep_below(root: pathlib.Path) -> None:
  """Sweeps a folder and those below it, except through links."""
  for folder, names, _ in os.walk(root):
    names[:] = [name for name in names if not _NAME.fullmatch(name)]
    sweep(pathlib.Path(folder))


def _create(parent: pathlib.Path) -> tuple[pathlib.Path, int]:
  """A new folder and the file that locks it."""
  while True:
    folder = parent / f".kdmri-{secrets.token_hex(8)}.tmp"
    folder.mkdir(mode=0o700)
    # Until it is locked, another process may take it for a leftover and remove it.
    with contextlib.suppress(FileNotFoundError):
      lock = without_links(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL)
      if _try_lock(lock) is not False and (folder / _LOCK).exists():
        return folder, lock
      os.close(lock)


def _remove_unused(folder: pathlib.Path) -> None:
  try:
    lock = without_links(folder / _LOCK, os.O_RDWR)
  except FileNotFoundError:
    try:
      folder.rmdir()
    except OSError:  # it has been locked by now, or its removal was killed
      if not (folder / _LOCK).exists():
        shutil.rmtree(folder)
    return
  try:
    if _try_lock(lock):
      shutil.rmtree(folder)
  finally:
    os.close(lock)


def _try_lock(descriptor: int) -> bool | None:
  """Whether this process has the lock now; None on a disk without locks."""
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError:
    return None
  return True
