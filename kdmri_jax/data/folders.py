"""Helpers for reading folders of files: paths, names, contrasts and subjects."""

import fnmatch
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from kdmri_jax.config import DataConfig
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import h5, walk
from kdmri_jax.io.reading import split_name

SPLITS = ("train", "validation", "test")


def root_folder(config: DataConfig) -> pathlib.Path:
  """The folder `config.root`.

  Raises:
    UserError: the setting is empty, or the folder is missing or empty.
  """
  if not config.root:
    raise ArgumentError("root", "no folder", "the folder of the images")
  root = pathlib.Path(config.root).expanduser()
  if not walk.is_folder(root):
    found = "a file" if root.exists() else "no such folder"
    raise UserError(root, found, "the folder of the images, as root")
  if walk.is_empty(root):
    raise UserError(root, "an empty folder", "a folder with images, as root")
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
    endings: of their names, such as ".nii" and ".nii.gz", see `io.walk.files`.
    holding: their expected content, for the message.
    below: whether files in folders below are included.
    use: whether to include a file with such an ending.

  Raises:
    UserError: there is none.
  """
  paths = [path for path in walk.files(root, endings, below=below) if use(path)]
  if not paths:
    *first, last = (f"*{ending}" for ending in endings)
    kinds = f"{', '.join(first)} or {last}" if first else last
    raise not_there(root, f"file {kinds} in it{' or below' if below else ''}", holding)
  return paths


def named_files(
  config: DataConfig,
  endings: Sequence[str],
  holding: str,
  folder: pathlib.Path | None = None,
  use: Callable[[pathlib.Path], bool] = lambda path: True,
) -> Iterator[tuple[pathlib.Path, str, str]]:
  """The wanted files below a folder, with the names of volume and subject.

  Both are the path below the folder; `config.subject_pattern` may name the subject.
  The folder is `config.root` by default. Other arguments and errors as for `files_of`.
  """
  root = folder or root_folder(config)
  for path in files_of(root, endings, holding, use=use):
    label = label_of(root, path)
    name = safe_name(label)
    if wanted(config, name):
      yield path, name, subject_of(config, path, label)


def divided(
  config: DataConfig, endings: Sequence[str], holding: str
) -> Iterator[tuple[pathlib.Path, pathlib.Path, str | None]]:
  """The files below the root and their split, which folders of its name may give.

  Where the root has folders `train` and `validation` (and perhaps `test`), only these
  are read and they are the split. Other arguments and errors as for `files_of`.

  Yields:
    Each file, the folder after which it is named, and its split or None.
  """
  root = root_folder(config)
  parts = [root / split for split in sorted(SPLITS)]
  if not all(walk.is_folder(root / split) for split in ("train", "validation")):
    parts = []
  parts = [folder for folder in parts if walk.files(folder, endings)]
  for folder in parts or [root]:
    for path in files_of(folder, endings, holding):
      yield path, folder, folder.name if parts else None


def divided_files(
  config: DataConfig, endings: Sequence[str], holding: str
) -> Iterator[tuple[pathlib.Path, str, str, str | None]]:
  """The wanted files of `divided`: path, name, subject and split of each volume."""
  for path, folder, split in divided(config, endings, holding):
    label = label_of(folder, path)
    name = safe_name(label)
    if wanted(config, name):
      yield path, name, subject_of(config, path, label), split


def not_there(root: pathlib.Path, what: str, holding: str) -> UserError:
  """The error for a root without the files of a source.

  Args:
    root: the folder.
    what: the missing file or folder.
    holding: the expected content.
  """
  remedy = "Name the folder that holds it as root."
  return UserError(root, f"no {what}", holding, remedy)


def folders_in(root: pathlib.Path) -> str:
  """The folders in a folder, for errors."""
  names = [path.name for path in walk.folders(root)]
  return f"(the folders are: {', '.join(names) or 'none'})"


def files_of_parts(
  config: DataConfig, parts: Mapping[str, str], holding: str
) -> Iterator[tuple[pathlib.Path, str | None]]:
  """The wanted h5 files of a data set's own folders, or of the root where it has none.

  Args:
    config: its root; a volume's name is the file's without its ending.
    parts: name of a folder in the root -> its split.
    holding: the expected layout, for the message.

  Yields:
    Each file, sorted by path in the order of the folders, and its split, None where
    some of the folders are missing.

  Raises:
    UserError: there is no file.
  """
  root = root_folder(config)
  folders = [root / name for name in parts if walk.is_folder(root / name)]
  paths = [
    (path, parts[folder.name] if len(folders) == len(parts) else None)
    for folder in folders or [root]
    for path in walk.files(folder, h5.ENDINGS, below=False)
  ]
  if not paths:
    what = f"file *.h5, nor any in {' or '.join(parts)} {folders_in(root)}"
    raise not_there(root, what, holding)
  yield from (entry for entry in paths if wanted(config, entry[0].stem))


def wanted(config: DataConfig, name: str) -> bool:
  """Whether the volume of this name is to be read (`config.include`)."""
  return not config.include or any(
    fnmatch.fnmatchcase(name, glob) for glob in config.include
  )


def choose(
  config: DataConfig, usual: str, available: Iterable[str], where: object
) -> str:
  """The name of the image that `config.contrast` selects.

  Args:
    config: its contrast; "" takes the default.
    usual: the name of the source's default image; "" where it takes all.
    available: the names of the existing images.
    where: the folder or file that an error message names.

  Raises:
    ArgumentError: there is no such image; the message lists the existing ones.
  """
  name = config.contrast or usual
  available = list(available)
  if name and name not in available:
    found = f"{name!r}, of which there is no image in {where}"
    expected = f"one of {', '.join(available) or 'none'}; '' takes {usual or 'all'}"
    raise ArgumentError("contrast", found, expected)
  return name


def safe_name(text: str) -> str:
  """The text as a file name that is valid on every file system."""
  return re.sub(r"[^A-Za-z0-9._-]+", "_", text)


def refuse_equal_names(names: Iterable[str], files: Iterable[str]) -> None:
  """Refuses two volumes of one name; `files` are theirs, for the message."""
  first: dict[str, str] = {}
  for name, file in zip(names, files, strict=True):
    if name in first:
      found = f"the volume name {name!r}, which {first[name]} has too"
      expected = "different names, because files are named by them"
      raise UserError(file, found, expected, "Rename one of the files.")
    first[name] = file


def label_of(folder: pathlib.Path, path: pathlib.Path) -> str:
  """The default name of a file: its path below a folder.

  Args:
    folder: a folder above the file.
    path: the file.

  Returns:
    The parts of the path joined by "_", without .nii.gz or another last ending.
  """
  return "_".join((*path.relative_to(folder).parts[:-1], split_name(path)[0]))


def subject_of(config: DataConfig, path: pathlib.Path, default: str) -> str:
  """The subject of a file, which `config.subject_pattern` finds in its path.

  Args:
    config: its pattern is searched in the path of the file below `config.root`.
    path: the file.
    default: the subject where there is no pattern.

  Raises:
    UserError: the pattern is not a regular expression, or finds nothing in the path.
  """
  if not config.subject_pattern:
    return default
  try:
    pattern = re.compile(config.subject_pattern)
  except re.error as error:
    found = f"{config.subject_pattern!r}, which is not a regular expression ({error})"
    expected = "a regular expression, such as '(patient[0-9]+)'"
    raise ArgumentError("subject_pattern", found, expected) from error
  relative = path.relative_to(root_folder(config)).as_posix()
  match = pattern.search(relative)
  subject = match and (match.group(match.lastindex or 0))
  if not subject:
    found = f"a path in which subject_pattern {config.subject_pattern!r} finds nothing"
    raise UserError(path, found, "a subject in the path of every file")
  return subject
