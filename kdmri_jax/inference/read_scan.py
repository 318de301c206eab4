"""One scan to reconstruct: a file or folder of any data source."""

import dataclasses
import glob
import pathlib

from kdmri_jax.config import DataConfig
from kdmri_jax.config.data import SENSITIVITIES
from kdmri_jax.data.measured import Measured
from kdmri_jax.data.source import only
from kdmri_jax.data.sources import SOURCES, find_source
from kdmri_jax.data.volume import Volume
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.io import walk
from kdmri_jax.io.reading import refuse_missing, split_name

_ANY_SIZE = 2**40
_KNOWN = ", ".join(source.files for source in SOURCES.values() if source.files)


def read(
  path: pathlib.Path,
  config: DataConfig,
  *,
  source: str = "",
  contrast: str = "",
  combine: str = "",
  sensitivities: str = "",
  variable: str = "",
  axes: tuple[str, ...] = (),
  name: str = "",
) -> Volume | Measured:
  """Reads a scan for reconstruction.

  Args:
    path: a file, or a folder.
    config: the data settings of the run, which give the default of the acceleration tag
      and, for its own source, of contrast, combine, sensitivities, variable and axes.
      Where its inputs were given, these are those of the inputs.
    source: the data source that reads it, by name or import path; "" takes the one
      that recognises it, see `source_of`.
    contrast: the image to read, as the setting of this name; for .cfl and complex .npy
      "kspace" or "image".
    combine: the combination of coils, as the setting of this name.
    sensitivities: of coils that are not combined, as the setting of this name.
    variable: the array to read, as the setting of this name.
    axes: its axes, likewise.
    name: of the volume, where a file or folder holds several.

  Returns:
    Fully sampled images as stored, not checked yet, or undersampled k-space.

  Raises:
    ArgumentError: `source` is unknown, or a setting is not supported.
    UserError: it cannot be read, or holds several volumes.
  """
  config = config.of_inputs if config.inputs.given else config
  path = path.expanduser()
  refuse_missing(path)
  if not path.exists():
    raise UserError(path, "no such file or folder", _KNOWN)
  remedy = ""
  if not source:
    source = source_of(path, config.source)
    remedy = f"{path.name} was taken for {source}: name its source if it is another."
  found = find_source(source)
  choices = dict(contrast=contrast, combine=combine, variable=variable, axes=axes)
  found.check_choices(source, choices, remedy)
  own = source == config.source
  if sensitivities not in ("", *SENSITIVITIES):
    expected = f"one of {', '.join(map(repr, SENSITIVITIES))}"
    raise ArgumentError("sensitivities", repr(sensitivities), expected)
  settings = dataclasses.replace(
    config,
    source=source,
    root=str(path if path.is_dir() else path.parent),
    include=(glob.escape(name),) if name else (),
    subject_pattern="",
    repeats=0,
    repeat_pattern="",
    variable=variable or (config.variable if own else ""),
    axes=axes or (config.axes if own else ()),
    memory_mb=_ANY_SIZE,
    contrast=contrast or (config.contrast if own else ""),
    combine=combine or (config.combine if own else ""),
    sensitivities=sensitivities or (config.sensitivities if own else "espirit"),
  )
  reader = found.read_folder if path.is_dir() else found.read
  if reader:
    scan = reader(path, settings)
  else:
    volumes = found.read_volumes(settings)
    if path.is_file():
      names = (str(path), split_name(path)[0])
      volumes = (volume for volume in volumes if volume.file in names)
    scan = only(path, volumes, settings)
  record = {"file": str(path), "source": source} | scan.record
  if isinstance(scan, Measured):
    return scan._replace(record=record)
  return dataclasses.replace(scan, record=record)


def source_of(path: pathlib.Path, own: str = "") -> str:
  """The name of the source that recognises a file or folder.

  Args:
    path: the file or folder; it exists.
    own: name of the run's source; an imported one is also tried.

  Returns:
    A name in `data.sources.SOURCES`, or `own`. Where sources of data sets and of plain
    arrays recognise a file, the data set has precedence.

  Raises:
    ArgumentError: several sources recognise it, so that `source` must name one.
    UserError: none does.
  """
  known = SOURCES | ({own: find_source(own)} if ":" in own else {})
  names = [n for n, s in known.items() if s.recognise and s.recognise(path)]
  names = [n for n in names if known[n].volumes] or names
  if len(names) > 1:
    found = f"'' for {path}, which several sources recognise"
    raise ArgumentError("source", found, " or ".join(names))
  if names:
    return names[0]
  for file in walk.files(path):
    refuse_missing(file)
  found = "a folder that no source recognises"
  if not path.is_dir():
    _, suffix = split_name(path)
    found = f"the name ending {suffix}" if suffix else "a name without ending"
  raise UserError(path, found, _KNOWN, "Name its source, or convert it.")
