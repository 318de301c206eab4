"""Folders of data: which files and folders are in them."""

import collections
import os
import pathlib
from collections.abc import Sequence

from kdmri_jax.errors import UserError
from kdmri_jax.io.reading import refuse_missing

_OF_THE_SYSTEM = "lost+found"  # of a disk; its owner alone can read it


def files(
  folder: str | os.PathLike, endings: Sequence[str] = ("",), *, below: bool = True
) -> list[pathlib.Path]:
  """The files of a folder, sorted by their paths.

  Links to files and folders are followed. Every folder is read once, by its own path
  before any link: a link to a folder that is read anyway, or that `folder` is in, adds
  nothing. What begins with a dot and what lies below it are not data.

  Args:
    folder: the folder, which may itself lie below a name that begins with a dot.
    endings: of the files' names, in lower case, such as ".nii" and ".nii.gz"; names are
      compared in lower case.
    below: whether files in folders below are included.

  Returns:
    The files, and links with such an ending to files that are missing, which
    `io.reading.reading` refuses; [] where there is no such folder.

  Raises:
    UserError: a folder cannot be read, or is a link to one that is missing.
  """
  top = pathlib.Path(folder)
  found, own = [], [top] if top.is_dir() else []
  linked: collections.deque[pathlib.Path] = collections.deque()
  above = (
    parent
    for place in (os.path.realpath(top), os.path.abspath(top))
    for parent in pathlib.Path(place).parents
  )
  seen = set(map(os.path.realpath, above))
  while own or linked:
    here = own.pop() if own else linked.popleft()
    if (place := os.path.realpath(here)) in seen:
      continue
    seen.add(place)
    for entry in _entries(here):
      path = here / entry.name
      if entry.is_symlink() and path.is_dir():
        linked.append(path)
      elif entry.is_dir(follow_symlinks=False):
        own.append(path)
      elif entry.name.lower().endswith(tuple(endings)):
        found.append(path)
      elif below:
        _refuse_lost_folder(path)
    if not below:
      break
  return sorted(found)


def is_empty(folder: str | os.PathLike) -> bool:
  """Whether a folder holds nothing but names that begin with a dot.

  Raises:
    UserError: it cannot be read.
  """
  return not _entries(folder)


def is_folder(path: str | os.PathLike) -> bool:
  """Whether there is such a folder.

  Raises:
    UserError: the path is a link to one that is missing.
  """
  refuse_missing(path)
  return os.path.isdir(path)


def folders(folder: str | os.PathLike) -> list[pathlib.Path]:
  """The folders in a folder, sorted; without names that begin with a dot.

  Raises:
    UserError: the folder cannot be read, or has a link that may have been a folder.
  """
  found = []
  for entry in _entries(folder):
    path = pathlib.Path(folder, entry.name)
    if path.is_dir():
      found.append(path)
    else:
      _refuse_lost_folder(path)
  return found


def present(path: str | os.PathLike) -> pathlib.Path:
  """The path; where nothing is there, one beside it that differs in case alone.

  Raises:
    UserError: its folder cannot be read.
  """
  path = pathlib.Path(path)
  if os.path.lexists(path) or not path.parent.is_dir():
    return path
  names = [entry.name for entry in _entries(path.parent)]
  same = (name for name in names if name.lower() == path.name.lower())
  return path.with_name(next(same, path.name))


def _refuse_lost_folder(path: pathlib.Path) -> None:
  """Refuses a link to a missing folder, as far as a name can tell that it is one."""
  if path.is_symlink() and not path.suffix and "annex/objects" not in os.readlink(path):
    refuse_missing(path)


def _entries(folder: str | os.PathLike) -> list[os.DirEntry]:
  """What is in a folder, sorted by name; without names that begin with a dot."""
  try:
    with os.scandir(os.fspath(folder)) as entries:
      there = sorted(entries, key=lambda entry: entry.name)
  except OSError as error:
    found = f"a folder that cannot be read ({error.strerror})"
    expected = "a folder whose files can be listed"
    remedy = "Correct its permissions, or move it to another place."
    raise UserError(folder, found, expected, remedy) from error
  return [e for e in there if e.name[0] != "." and e.name != _OF_THE_SYSTEM]
