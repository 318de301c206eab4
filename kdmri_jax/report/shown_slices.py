"""Some evaluated slices, reconstructed by the networks that the report compares."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kdmri_jax.io import h5
from kdmri_jax.io.volume_files import RESULT
from kdmri_jax.report.tables import Tables

MOST = 8


class ShownSlice(NamedTuple):
  """A slice that the reader of the page looks at.

  Attributes:
    subject: its subject.
    volume: name of its volume.
    number: its place there, from 0.
    why: the reason for its choice, such as "lowest PSNR of kd"; "" for no other than
      its distance from the others.
    images: name -> image [H, W]; one of them is "target".
  """

  subject: str
  volume: str
  number: int
  why: str
  images: Mapping[str, np.ndarray]


def choose(
  tables: Tables, protocol: str, seed: int | None, model: str = ""
) -> list[dict]:
  """Slices at equal distances among all evaluated ones, and a network's worst one.

  Args:
    tables: the measured values.
    protocol: of the records that are read.
    seed: of the records; None where they have none.
    model: the network whose worst slice by the first metric is among them; "" for none.

  Returns:
    At most `MOST` records of slices with a finite or infinite value, in the order of
    the tables, the worst one with "why". Slices without signal are not chosen.
  """
  (first, metric), *_ = tables.metrics.items()
  records = [
    record
    for record in tables.slices
    if record["protocol"] == protocol and not math.isnan(record[first])
  ]
  places = {(r["volume"], r["slice"]): r for r in records}
  everything = list(places.values())
  count = min(MOST, len(everything))
  rows = [(2 * k + 1) * len(everything) // (2 * count) for k in range(count)]
  chosen = {
    (r["volume"], r["slice"]): {**r, "why": ""}
    for r in map(everything.__getitem__, rows)
  }
  own = [r for r in records if r["model"] == model and r.get("seed") == seed]
  if own:
    sign = 1 if metric.higher_is_better else -1
    worst = min(own, key=lambda record: sign * record[first])
    place = worst["volume"], worst["slice"]
    if place not in chosen and len(chosen) == MOST:
      chosen.popitem()
    word = "lowest" if metric.higher_is_better else "highest"
    chosen[place] = {**worst, "why": f"{word} {metric.title} of {model}"}
  return [chosen[place] for place in places if place in chosen]


def read(
  chosen: Sequence[dict], folders: Mapping[str, pathlib.Path], targets: pathlib.Path
) -> list[ShownSlice]:
  """Reads slices from the files of a run's results.

  Args:
    chosen: from `choose`.
    folders: name -> folder of the results, in the order of the pictures.
    targets: folder of the targets.

  Raises:
    UserError: a file is missing or damaged.
  """
  found = []
  for record in chosen:
    name, number = f"{record['volume']}.h5", record["slice"]
    images = {"target": _slice(targets / name, "target", number)}
    for model, folder in folders.items():
      images[model] = _slice(folder / name, RESULT, number)
    place = record["subject"], record["volume"], number, record["why"]
    found.append(ShownSlice(*place, images))
  return found


def _slice(path: pathlib.Path, key: str, number: int) -> np.ndarray:
  with h5.opened(path) as file:
    return np.asarray(h5.h5_dataset(file, key)[number], np.float32)
