"""Tables of metrics: one record per volume and one per slice, for every model.

A record is a dict: model, seed (of the training, where there are several), volume
(file name without ending), subject, protocol, the metrics by name, and of volumes
`empty_slices`, `target_key` and `prediction_key` (the arrays that were read), of slices
`slice` (from 0).
Undefined values are NaN here and null in JSON files, empty in CSV files. Infinite ones
are "inf" or "-inf" in both.
"""

import csv
import io
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax import json_text
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.io import volume_files
from kdmri_jax.io.volume_files import PREDICTION, TARGET, StoredVolume, read_volume
from kdmri_jax.metrics import METRICS, Metric, quality
from kdmri_jax.protocols import PROTOCOLS
from kdmri_jax.report.parts import RESULTS, Parts
from kdmri_jax.saving import make_folder, replacing

FILES = ("volumes.csv", "volumes.json", "slices.csv", "slices.json")


class Tables(NamedTuple):
  """Metrics of several models under all protocols.

  Attributes:
    volumes: one record for each model, seed, volume and protocol.
    slices: one record for each model, seed, volume, slice and protocol.
    metrics: the metrics in the records, by name.
    source: record of the volumes' own source, see `dataset.load_tested`; None for the
      evaluated volumes of a run.
  """

  volumes: list[dict]
  slices: list[dict]
  metrics: Mapping[str, Metric] = METRICS
  source: Mapping[str, Any] | None = None

  @property
  def records(self) -> list[dict]:
    """Both kinds in one list; slices are those with the key "slice"."""
    return self.volumes + self.slices


class Pair(NamedTuple):
  """One reconstructed volume and its target.

  Attributes:
    label: model, seed where there are several, volume and subject.
    file: of the reconstruction.
    target: the target.
    prediction: the reconstruction.
  """

  label: dict[str, Any]
  file: pathlib.Path
  target: StoredVolume
  prediction: StoredVolume


def evaluate_folders(
  target_dir: str | os.PathLike,
  prediction_dirs: Mapping[str, str | os.PathLike],
  *,
  target_key: str = "",
  prediction_key: str = "",
  metrics: Mapping[str, Metric] = METRICS,
) -> Tables:
  """Measures every reconstructed volume of every model.

  Args:
    target_dir: see `pairs`.
    prediction_dirs: see `pairs`.
    target_key: see `pairs`.
    prediction_key: see `pairs`.
    metrics: name -> metric.

  Returns:
    `Tables`; the subject is the target file's attribute "subject", or its name without
    ending if there is none.

  Raises:
    UserError: as `pairs` and `metrics.all`.
  """
  found = pairs(
    target_dir, prediction_dirs, target_key=target_key, prediction_key=prediction_key
  )
  return evaluate(found, metrics)


def pairs(
  target_dir: str | os.PathLike,
  prediction_dirs: Mapping[str, str | os.PathLike],
  *,
  target_key: str = "",
  prediction_key: str = "",
  missing: list[str] | None = None,
) -> Iterator[Pair]:
  """Reads every target and its reconstructions, one volume at a time.

  Args:
    target_dir: folder of the fully sampled volumes, see `volume_files`.
    prediction_dirs: model name -> folder of files named like the targets, with any
      ending; or for every model a dict seed -> folder, with the seed None where no
      training was needed. Then every record has its "seed".
    target_key: array of the target in h5, npz and mat files; "" see `read_volume`.
    prediction_key: array of the reconstruction, likewise.
    missing: where not all folders have the same volumes, those that all of them have
      are read, and sentences on the others are appended to this list. None refuses.

  Raises:
    UserError: a folder is missing or empty, a file lacks its counterpart, no volume is
      in all folders, or a file cannot be read, see `read_volume`.
  """
  targets, models = volume_files.find(target_dir), []
  for label, folder in _labelled(prediction_dirs):
    files = volume_files.find(folder)
    if missing is None:
      _same_names(target_dir, targets, folder, files)
    models.append((label, files))
  common = set(targets).intersection(*(files for _, files in models))
  if missing is not None:
    missing += _left_out(target_dir, targets, models, common)
  for name, path in targets.items():
    if name not in common:
      continue
    target = read_volume(path, TARGET, key=target_key)
    for label, files in models:
      prediction = read_volume(files[name], PREDICTION, key=prediction_key)
      label = {**label, "volume": name, "subject": target.subject or name}
      yield Pair(label, files[name], target, prediction)


def evaluate(
  found: Iterable[Pair],
  metrics: Mapping[str, Metric] = METRICS,
  parts: Parts | None = None,
) -> Tables:
  """Measures pairs of volumes.

  Args:
    found: the pairs.
    metrics: name -> metric.
    parts: is told of metrics that fail, whose values are then NaN; None for errors.

  Raises:
    UserError: as `metrics.all`.
  """
  tables = Tables([], [], metrics)
  for label, file, target, prediction in found:
    keys = {"target_key": target.key, "prediction_key": prediction.key}
    images = target.images, prediction.images
    add_volume(tables, label, *images, where=file, more=keys, parts=parts)
  return tables


def _labelled(prediction_dirs):
  for model, folders in prediction_dirs.items():
    if isinstance(folders, Mapping):
      yield from (({"model": model, "seed": s}, path) for s, path in folders.items())
    else:
      yield {"model": model}, folders


def add_volume(
  tables: Tables,
  label: dict,
  target: np.ndarray,
  prediction: np.ndarray,
  *,
  where: object,
  more: Mapping[str, str] = {},
  parts: Parts | None = None,
) -> None:
  """Measures one volume and appends its records.

  Args:
    tables: appended to.
    label: model, seed where there are several, volume and subject.
    target: fully sampled magnitude, [S, H, W].
    prediction: reconstruction, [S, H, W].
    where: the name of the pair in error messages.
    more: further entries of the volume's record.
    parts: see `evaluate`.

  Raises:
    UserError: as `metrics.all`.
  """
  with arguments_of(f"{where}: "):
    images = quality.checked(target, prediction, tables.metrics)
    if parts is None:
      measured = quality.measure(*images, tables.metrics)
    else:
      measured = _measure_each(parts, tables.metrics, images, where)
  empty = quality.empty_slices(target)
  for protocol, found in measured.items():
    head = {**label, "protocol": protocol}
    tables.volumes.append({**head, **found.volume, "empty_slices": empty, **more})
    for index in range(len(target)):
      values = {name: float(column[index]) for name, column in found.slices.items()}
      tables.slices.append({**head, "slice": index, **values})


def _measure_each(parts, metrics, images, where) -> dict[str, quality.Quality]:
  """The values of all metrics; those of a metric that fails are NaN."""
  target, prediction = images
  try:
    return quality.measure(target, prediction, metrics)
  except Exception:  # which one is found below
    undefined = np.full(len(target), np.nan)
  whole = {protocol: quality.Quality({}, {}) for protocol in PROTOCOLS}

  def measured(name):
    return quality.measure(target, prediction, {name: metrics[name]})

  for name, metric in metrics.items():
    part = f"the metric {metric.title} (all or some of its values)"
    nothing = dict.fromkeys(whole, quality.Quality({name: np.nan}, {name: undefined}))
    own = parts.make(RESULTS, part, measured, name, otherwise=nothing, where=where)
    for protocol, found in whole.items():
      found.volume.update(own[protocol].volume)
      found.slices.update(own[protocol].slices)
  return whole


def write_csv(path: str | os.PathLike, records: list[dict]) -> None:
  """Writes records as CSV with a header line; undefined values are left empty."""
  text = io.StringIO()
  writer = csv.DictWriter(
    text, list(records[0]) if records else [], lineterminator="\n"
  )
  writer.writeheader()
  writer.writerows(
    {k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
    for row in records
  )
  write_text(path, text.getvalue())


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes strictly valid JSON, see `json_text`."""
  write_text(path, json_text.dumps(value, indent=2) + "\n")


def write_tables(folder: str | os.PathLike, tables: Tables) -> list[pathlib.Path]:
  """Writes the `FILES`, volumes.csv and the others; returns their paths."""
  folder = pathlib.Path(folder)
  make_folder(folder)
  paths = []
  for name, records in (("volumes", tables.volumes), ("slices", tables.slices)):
    write_csv(folder / f"{name}.csv", records)
    write_json(folder / f"{name}.json", records)
    paths += [folder / f"{name}.csv", folder / f"{name}.json"]
  return paths


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a file completely or not at all."""
  with replacing(path) as temporary:
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _same_names(target_dir, targets, folder, files):
  for here, there, missing in (
    (folder, target_dir, targets.keys() - files.keys()),
    (target_dir, folder, files.keys() - targets.keys()),
  ):
    if missing:
      names = _some((targets | files)[name].name for name in missing)
      found = f"no counterpart of {names} in {there}"
      expected = "files of the same names in both folders"
      remedy = "Add the missing files, or remove those that should not be compared."
      raise UserError(here, found, expected, remedy)


def _left_out(target_dir, targets, models, common) -> list[str]:
  """Sentences on volumes that not all folders have; refuses folders without common."""
  if not common:
    own = _some(path.name for path in targets.values())
    others = _some(path.name for _, files in models for path in files.values())
    found = f"{own}, and none of these names with all reconstructions ({others})"
    remedy = "Give reconstructions the names of their targets; endings may differ."
    raise UserError(target_dir, found, "files of the same names", remedy)
  lines = []
  for label, files in models:
    if without := [targets[name].name for name in targets.keys() - files.keys()]:
      lines.append(
        f"{label['model']}: no reconstruction of {len(without)} of {len(targets)} "
        f"targets ({_some(without)})"
      )
    if surplus := [files[name].name for name in files.keys() - targets.keys()]:
      lines.append(
        f"{label['model']}: no target of {len(surplus)} of {len(files)} "
        f"reconstructions ({_some(surplus)})"
      )
  if lines:
    lines[-1] += f"; measured are the {len(common)} volumes that all folders have"
  return [f"{line}." for line in lines]


def _some(names: Iterable[str]) -> str:
  """The first names in order, and the number of the others."""
  ordered = sorted(names)
  more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
  return f"{', '.join(ordered[:3])}{more}"
