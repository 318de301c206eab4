"""From records of measured images to the arrays of `statistics`, and back."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from kdmri_jax import statistics
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.statistics.resampling import ENOUGH


def summary(records: list[dict], protocol: str, metrics: Iterable[str]) -> list[dict]:
  """Mean and spread of every metric over volumes and seeds, one row per model.

  Args:
    records: records of `tables.Tables`; slices are ignored.
    protocol: protocol of the records.
    metrics: keys of the values to summarise.

  Returns:
    Rows {"model", "n_seeds", "metrics": {metric: {"mean", "sd", "sd_over_seeds", "n",
    "left_out"}}} in the order in which the models appear. The mean is over seeds and
    volumes. sd is the sample standard deviation (n - 1) over volumes of their means
    over seeds, None for n = 1; sd_over_seeds that of the seeds' means over volumes,
    None for one seed. `left_out` volumes have no finite value with some seed (a perfect
    PSNR, no edges) and do not count in the means or in n; mean is None for n = 0.

  Raises:
    UserError: a model was not measured on the same volumes with every seed.
  """
  models = {}
  for record in records:
    if record["protocol"] == protocol and "slice" not in record:
      models.setdefault(record["model"], []).append(record)
  return [
    {"model": model, **_summarise(rows, model, metrics)}
    for model, rows in models.items()
  ]


def _summarise(rows, model, names):
  volumes, seeds = (
    list(dict.fromkeys(row.get(key) for row in rows)) for key in ("volume", "seed")
  )
  by_key = {(row["volume"], row.get("seed")): row for row in rows}
  if len(by_key) != len(volumes) * len(seeds):
    raise UserError(
      model,
      "records of other volumes with some seeds than with others",
      "the same volumes with every seed",
      "Evaluate all seeds on the same files.",
    )
  metrics = {}
  for name in names:
    values = [[by_key[volume, seed][name] for seed in seeds] for volume in volumes]
    metrics[name] = _moments(np.array(values, np.float64))
  return {"n_seeds": len(seeds), "metrics": metrics}


def _moments(values):
  """Moments of values [volumes, seeds]."""
  finite = values[np.isfinite(values).all(axis=1)]
  by_volume = finite.mean(axis=1)
  several = len(finite) > 0 and finite.shape[1] > 1
  return {
    "mean": float(by_volume.mean()) if len(finite) else None,
    "sd": float(by_volume.std(ddof=1)) if len(finite) > 1 else None,
    "sd_over_seeds": float(finite.mean(axis=0).std(ddof=1)) if several else None,
    "n": len(finite),
    "left_out": len(values) - len(finite),
  }


def paired(
  records: list[dict],
  a: str,
  b: str,
  metric: str,
  *,
  bootstrap: int,
  seed: int,
  higher_is_better: bool = True,
  teacher: str | None = None,
  protocol: str = "kdmri",
  group: str = "subject",
) -> dict[str, Any]:
  """Compares two models on the same images, trained with the same seeds.

  With at least `ENOUGH` subjects the values are of volumes, with fewer of slices; see
  `statistics.compare`.

  Args:
    records: records of `tables.Tables`, volumes and slices; "seed" is the seed of
      the training, absent where there is one only.
    a: model whose gain is estimated.
    b: model to compare with.
    metric: key of the value to compare.
    bootstrap: number of resamples.
    seed: of the resampling; the same seed gives the same interval.
    higher_is_better: whether larger values are better.
    teacher: the model that bounds the gap above b; None omits the gap.
    protocol: protocol of the records.
    group: name of the unit of a record's subject: "subject", "file".

  Returns:
    The attributes of `statistics.Comparison` but the equivalence, `unit` in words
    (`group` or "slice"); a, b, metric, protocol, group; gap_closed and gap_ci95 (of
    `statistics.Share`, None without a teacher), gap_note (why one of them is None, else
    None) and gap_seeds (seeds that a, b and the teacher share, None without
    gap_closed).

  Raises:
    UserError: a model has no records, the models were not measured on the same
      images or share no seed, or no unit has finite values.
  """
  options = {
    "higher_is_better": higher_is_better,
    "bootstrap": bootstrap,
    "bootstrap_seed": seed,
  }
  with arguments_of(f"{metric} of {a} and {b}, "):
    values, owners = _arrays(records, (a, b), metric, protocol)
    found = statistics.compare(*values, **owners, **options)
  gap = dict.fromkeys(("gap_closed", "gap_ci95", "gap_note", "gap_seeds"))
  if teacher not in (None, a, b):
    values, owners = _arrays(records, (a, b, teacher), metric, protocol)
    share = statistics.share_of_gap(*values, **owners, **options)
    gap |= _gap(share, teacher, b)
  pair = dataclasses.asdict(found)
  del pair["equivalence"]
  unit = group if found.unit == "subject" else found.unit
  head = {"a": a, "b": b, "metric": metric, "protocol": protocol, "group": group}
  return {**head, **pair, "unit": unit, **gap}


def _gap(share, teacher, b):
  """Entries on the gap between the teacher and b."""
  if share.value is None:
    note = f"{teacher} is not better than {b}, so there is no gap to close"
    return {"gap_note": note}
  found = {"gap_closed": share.value, "gap_seeds": share.n_seeds}
  if share.ci95 is None:
    note = f"the gap between {teacher} and {b} is too uncertain for an interval"
    return {**found, "gap_note": note}
  return {**found, "gap_ci95": share.ci95}


def _arrays(records, models, metric, protocol):
  """Values of each model [N]; and "subjects" and "seeds" of those, [N] each."""
  rows = [r for r in records if r["protocol"] == protocol and r["model"] in models]
  of_slices = len({row["subject"] for row in rows}) < ENOUGH
  seeds = set.intersection(
    *({row.get("seed") for row in rows if row["model"] == model} for model in models)
  )
  table: dict[tuple, dict] = {}
  for row in rows:
    if ("slice" in row) == of_slices and row.get("seed") in seeds:
      key = (row["subject"], row["volume"], row.get("slice", 0), row.get("seed"))
      table.setdefault(key, {})[row["model"]] = row[metric]
  keys = sorted(table)
  complete = len(keys) == len({key[:3] for key in keys}) * len(seeds)
  if not keys or not complete or any(len(table[key]) < len(models) for key in keys):
    raise UserError(
      " and ".join(models),
      "models without records of the same images",
      f"records of each model on each image under the protocol {protocol}, with the "
      "same seeds",
      "Evaluate all of them on the same files.",
    )
  order = sorted(seeds)
  owners = {
    "subjects": [subject for subject, *_ in keys],
    "seeds": [order.index(seed) for *_, seed in keys],
  }
  return [[table[key][model] for key in keys] for model in models], owners
