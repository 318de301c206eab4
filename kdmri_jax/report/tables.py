"""Tables of metrics: one record per volume and one per slice, for every model.

A record is a dict: model, seed (of the training, where there are several), volume
(file name without ending), subject, protocol, the metrics by name, `empty_slices`
(volumes) or `slice` (slices, from 0).
Undefined values are NaN here and null in JSON files, empty in CSV files. Infinite ones
are "inf" or "-inf" in both.
"""

import csv
import io
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax import json_text
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.io import volume_files
from kdmri_jax.metrics import METRICS, Metric, quality
from kdmri_jax.saving import replacing


class Tables(NamedTuple):
  """Metrics of several models under all protocols.

  Attributes:
    volumes: one record for each model, seed, volume and protocol.
    slices: one record for each model, seed, volume, slice and protocol.
    metrics: the metrics in the records, by name.
  """

  volumes: list[dict]
  slices: list[dict]
  metrics: Mapping[str, Metric] = METRICS

  @property
  def records(self) -> list[dict]:
    """Both kinds in one list; slices are those with the key "slice"."""
    return self.volumes + self.slices


def evaluate_folders(
  target_dir: str | os.PathLike,
  prediction_dirs: Mapping[str, str | os.PathLike],
  *,
  key: str = "",
  metrics: Mapping[str, Metric] = METRICS,
) -> Tables:
  """Measures every reconstructed volume of every model.

  Args:
    target_dir: folder of the fully sampled volumes, see `volume_files`.
    prediction_dirs: model name -> folder of files named like the targets, with any
      ending; or for every model a dict seed -> folder, with the seed None where no
      training was needed. Then every record has its "seed".
    key: array to read from every h5 and npz file; "" takes the first of
      `volume_files.KEYS` present.
    metrics: name -> metric.

  Returns:
    `Tables`; the subject is the target file's attribute "subject", or its name without
    ending if there is none.

  Raises:
    UserError: a folder is missing or empty, a file lacks its counterpart, cannot
      be read, holds NaN or another shape, or has no signal.
  """
  targets, models = volume_files.find(target_dir), []
  for label, folder in _labelled(prediction_dirs):
    files = volume_files.find(folder)
    _same_names(target_dir, targets, folder, files)
    models.append((label, files))
  tables = Tables([], [], metrics)
  for name, path in targets.items():
    target, subject = volume_files.read_volume(path, key=key)
    for label, files in models:
      prediction, _ = volume_files.read_volume(files[name], key=key)
      label = {**label, "volume": name, "subject": subject or name}
      add_volume(tables, label, target, prediction, where=files[name])
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
) -> None:
  """Measures one volume and appends its records.

  Args:
    tables: appended to.
    label: model, seed where there are several, volume and subject.
    target: fully sampled magnitude, [S, H, W].
    prediction: reconstruction, [S, H, W].
    where: the name of the pair in error messages.

  Raises:
    UserError: as `metrics.all`.
  """
  with arguments_of(f"{where}: "):
    measured = quality.measure(target, prediction, tables.metrics)
  empty = quality.empty_slices(target)
  for protocol, found in measured.items():
    head = {**label, "protocol": protocol}
    tables.volumes.append({**head, **found.volume, "empty_slices": empty})
    for index in range(len(target)):
      values = {name: float(column[index]) for name, column in found.slices.items()}
      tables.slices.append({**head, "slice": index, **values})


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
  """Writes volumes.csv, volumes.json, slices.csv and slices.json; their paths."""
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
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
      names = [(targets | files)[name].name for name in sorted(missing)]
      more = f" and {len(names) - 3} more" if len(names) > 3 else ""
      found = f"no counterpart of {', '.join(names[:3])}{more} in {there}"
      expected = "files of the same names in both folders"
      remedy = "Add the missing files, or remove those that should not be compared."
      raise UserError(here, found, expected, remedy)
