"""What every reader of files needs: folders, names, subjects and reading errors."""

import contextlib
import fnmatch
import math
import os
import pathlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import h5py
import numpy as np

from kdmri_jax.config import DataConfig
from kdmri_jax.errors import UserError

SPLITS = ("train", "validation", "test")

_DAMAGE = (
  OSError,
  EOFError,
  zlib.error,
  KeyError,
  ValueError,
  RuntimeError,
  MemoryError,
)


@contextlib.contextmanager
def reading(path: pathlib.Path, *more_errors: type[Exception]) -> Iterator[None]:
  """Turns whatever a library raises about a damaged file into a `UserError`.

  Args:
    path: the file that is read inside the `with` block.
    *more_errors: exceptions of the library, beyond those of Python itself.
  """
  try:
    yield
  except (*_DAMAGE, *more_errors) as error:
    raise UserError(
      path,
      f"a file that cannot be read ({type(error).__name__}: {error})",
      "a complete file of the format that its name says",
      "It is probably truncated or damaged: copy or download it again.",
    ) from error


def refuse_huge(path: pathlib.Path, shape: tuple[int, ...], itemsize: int) -> None:
  """Refuses an array that is larger than this machine's memory, before it is read.

  Args:
    path: its file.
    shape: what the file's header says.
    itemsize: bytes of a value in memory.

  Raises:
    UserError: it would take more than there is.
  """
  needed = math.prod(shape) * itemsize
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  if needed > memory:
    raise UserError(
      path,
      f"an array of shape {shape}, {needed / 2**30:.0f} GiB",
      f"one that fits into this machine's memory of {memory / 2**30:.0f} GiB",
      "Divide the volume into several files; or the header is damaged: copy the file "
      "again.",
    )


def root_folder(config: DataConfig) -> pathlib.Path:
  """The folder `config.root`.

  Raises:
    UserError: the setting is empty, or the folder is missing or empty.
  """
  remedy = "Name the folder of the images with --config.data.root=FOLDER."
  if not config.root:
    raise UserError("data.root", "no folder", "the folder of the images", remedy)
  root = pathlib.Path(config.root).expanduser()
  if not root.is_dir():
    found = "a file" if root.exists() else "no such folder"
    raise UserError(root, found, "the folder of the images", remedy)
  if next(root.iterdir(), None) is None:
    raise UserError(root, "an empty folder", "a folder with images", remedy)
  return root


def files_of(
  root: pathlib.Path,
  endings: Sequence[str],
  holding: str,
  *,
  below: bool = True,
  use: Callable[[pathlib.Path], bool] = lambda path: True,
) -> list[pathlib.Path]:
  """The files of a format, sorted by their paths.

  Args:
    root: their folder.
    endings: of their names, such as ".nii" and ".nii.gz"; names that begin with a dot
      are left out.
    holding: what they should hold, for the message.
    below: whether those of folders below are wanted, too.
    use: whether a file with such an ending counts.

  Raises:
    UserError: there is none.
  """
  paths = [
    path
    for path in sorted(root.rglob("*") if below else root.iterdir())
    if path.name.endswith(tuple(endings))
    and path.name[0] != "."
    and path.is_file()
    and use(path)
  ]
  if not paths:
    kinds = " or ".join(f"*{ending}" for ending in endings)
    raise UserError(
      root,
      f"no file {kinds} in it{' or below' if below else ''}",
      holding,
      "Name the folder that holds them with --config.data.root=FOLDER.",
    )
  return paths


def files_of_parts(
  root: pathlib.Path, parts: Mapping[str, str], holding: str
) -> list[tuple[pathlib.Path, str | None]]:
  """The h5 files of a data set's own folders, or of the root where it has none.

  Args:
    root: the folder.
    parts: names of folders in it and the split that each is.
    holding: the layout that the message asks for.

  Returns:
    Each file, sorted by path in the order of the folders, and its split, None where
    not all of the folders are there.

  Raises:
    UserError: there is no file.
  """
  folders = [root / name for name in parts if (root / name).is_dir()]
  paths = [
    (path, parts[folder.name] if len(folders) == len(parts) else None)
    for folder in folders or [root]
    for path in sorted(folder.glob("*.h5"))
    if path.name[0] != "."
  ]
  if not paths:
    names = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
    raise UserError(
      root,
      f"no file *.h5, nor any in {' or '.join(parts)} (the folders are: "
      f"{names or 'none'})",
      holding,
      "Name the folder that holds them with --config.data.root=FOLDER.",
    )
  return paths


def wanted(config: DataConfig, name: str) -> bool:
  """Whether the volume of this name is to be read (`config.include`)."""
  return not config.include or any(
    fnmatch.fnmatchcase(name, glob) for glob in config.include
  )


def safe_name(text: str) -> str:
  """The text as a file name that every file system takes."""
  return re.sub(r"[^A-Za-z0-9._-]+", "_", text)


def label_of(folder: pathlib.Path, path: pathlib.Path) -> str:
  """What a file is called that nothing else names: its path below a folder.

  Args:
    folder: a folder above the file.
    path: the file.

  Returns:
    The parts of the path joined by "_", without .nii.gz or another last ending.
  """
  *parents, name = path.relative_to(folder).parts
  ending = ".nii.gz" if name.endswith(".nii.gz") else path.suffix
  return "_".join((*parents, name.removesuffix(ending)))


def subject_of(config: DataConfig, path: pathlib.Path, default: str) -> str:
  """The subject of a file: what `config.subject_pattern` finds in its path.

  Args:
    config: its pattern is searched in the path of the file below `config.root`.
    path: the file.
    default: the subject where there is no pattern.

  Raises:
    UserError: the pattern is no regular expression, or finds nothing in the path.
  """
  if not config.subject_pattern:
    return default
  remedy = "Mend it with --config.data.subject_pattern='(patient[0-9]+)' or the like."
  try:
    pattern = re.compile(config.subject_pattern)
  except re.error as error:
    found = f"{config.subject_pattern!r}, which is no regular expression ({error})"
    raise UserError(
      "data.subject_pattern", found, "a regular expression", remedy
    ) from error
  relative = path.relative_to(root_folder(config)).as_posix()
  match = pattern.search(relative)
  subject = match and (match.group(match.lastindex or 0))
  if not subject:
    raise UserError(
      path,
      f"a path in which data.subject_pattern {config.subject_pattern!r} finds nothing",
      "a subject in the path of every file",
      remedy,
    )
  return subject


def h5_array(file: h5py.File, key: str) -> np.ndarray:
  """One dataset of an open h5 file.

  Raises:
    UserError: the key is missing; the message lists the keys that there are. Or the
      dataset is larger than this machine's memory.
  """
  dataset = h5_dataset(file, key)
  refuse_huge(pathlib.Path(file.filename), dataset.shape or (), dataset.dtype.itemsize)
  return np.asarray(dataset[()])


def h5_dataset(file: h5py.File, key: str) -> h5py.Dataset:
  """As `h5_array`, but nothing is read yet: index it to read a part."""
  if not isinstance(file.get(key), h5py.Dataset):
    keys = ", ".join(sorted(file)) or "none"
    raise UserError(
      file.filename,
      f"no dataset {key!r} (the keys are: {keys})",
      f"a dataset {key!r}",
      "Check that the file belongs to this data source and this acceleration.",
    )
  return file[key]
