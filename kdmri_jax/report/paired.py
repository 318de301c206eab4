"""From records of measured images to the arrays of `statistics`, and back."""

import dataclasses
import itertools
from collections.abc import Collection
from typing import Any

import numpy as np

from kdmri_jax import statistics
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.statistics.sample import ENOUGH


def spread(values: np.ndarray) -> dict:
  """Mean, sample standard deviation and number of values; None where undefined."""
  n = len(values)
  return {
    "mean": float(np.mean(values)) if n else None,
    "sd": float(np.std(values, ddof=1)) if n > 1 else None,
    "n": n,
  }


def summary(
  records: list[dict],
  protocol: str,
  metrics: Collection[str],
  *,
  slices: bool = False,
  once: Collection[str] = (),
) -> list[dict]:
  """Mean and spread of every metric over volumes and seeds, one row per model.

  Args:
    records: records of `tables.Tables`.
    protocol: protocol of the records.
    metrics: keys of the values to summarise.
    slices: takes the values of slices in the place of those of volumes.
    once: the models that are one training, the same for all seeds.

  Returns:
    Rows {"model", "n_seeds", metric: {"mean", "sd", "sd_over_seeds", "n", "left_out"},
    ...} in the order in which the models appear. The mean is over seeds and volumes. sd
    is the sample standard deviation (n - 1) over volumes of their means over seeds,
    None for n = 1; sd_over_seeds that of the seeds' means over volumes, None for one
    seed. `left_out` volumes have no finite value with some seed (a perfect PSNR, no
    edges) and do not count in the means or in n; mean is None for n = 0.

  Raises:
    UserError: a model was not measured on the same volumes with every seed.
  """
  rows = []
  for model in dict.fromkeys(r["model"] for r in records if r["protocol"] == protocol):
    row = {"model": model}
    for name in metrics:
      ((values,), _) = _values(records, (model,), name, protocol, slices=slices)
      values = values[:, :1] if model in once else values
      row |= {"n_seeds": values.shape[1], name: _moments(values)}
    rows.append(row)
  return rows


def _moments(values):
  """Moments of values [volumes, seeds]."""
  finite = values[np.isfinite(values).all(axis=1)]
  n, seeds = finite.shape
  by_volume, several = finite.mean(axis=1), n > 0 and seeds > 1
  return {
    "mean": float(by_volume.mean()) if n else None,
    "sd": float(by_volume.std(ddof=1)) if n > 1 else None,
    "sd_over_seeds": float(finite.mean(axis=0).std(ddof=1)) if several else None,
    "n": n,
    "left_out": len(values) - n,
  }


def paired(
  records: list[dict],
  a: str,
  b: str,
  metric: str,
  *,
  higher_is_better: bool = True,
  teacher: str | None = None,
  protocol: str = "kdmri",
  group: str = "subject",
  margin: float | None = None,
  once: Collection[str] = (),
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
    higher_is_better: whether larger values are better.
    teacher: the model that bounds the gap above b; None omits the gap.
    protocol: protocol of the records.
    group: name of the unit of a record's subject: "subject", "file".
    margin: largest difference that does not matter; None omits the test.
    once: the models that are one training, the same for all seeds. Two of these are
      compared as with one seed, without the gap to a teacher of several.

  Returns:
    The attributes of `statistics.Comparison`, `unit` in words (`group` or "slice"),
    `equivalence` as a dict of the attributes of `statistics.Equivalence`, or None; a,
    b, metric, protocol, group; gap_closed and gap_ci95 (of `statistics.Share`, None
    without a teacher), gap_note (why one of them is None, else None) and gap_seeds
    (seeds that a, b and the teacher share, None without gap_closed).

  Raises:
    UserError: a model has no records, the models were not measured on the same
      images or share no seed, or no unit has finite values.
  """
  slices = len({row["subject"] for row in records if row["model"] == a}) < ENOUGH
  once_only = {a, b} <= set(once)
  if once_only and teacher not in once:
    teacher = None

  def arrays(*models):
    values, subjects = _values(records, models, metric, protocol, slices=slices)
    values = values[..., :1] if once_only else values
    _, images, seeds = values.shape
    owners = {
      "subjects": np.repeat(subjects, seeds),
      "seeds": np.tile(np.arange(seeds), images),
    }
    return values.reshape(len(models), -1), owners

  with arguments_of(f"{metric} of {a} and {b}, "):
    values, owners = arrays(a, b)
    found = statistics.compare(
      *values, **owners, higher_is_better=higher_is_better, margin=margin
    )
  pair = dataclasses.asdict(found)
  if found.equivalence:
    tested = found.equivalence
    pair["equivalence"] = {**tested._asdict(), "shown": tested.shown}
  if pair["unit"] == "subject":
    pair["unit"] = group
  gap = dict.fromkeys(("gap_closed", "gap_ci95", "gap_note", "gap_seeds"))
  if teacher not in (None, a, b):
    values, owners = arrays(a, b, teacher)
    share = statistics.share_of_gap(
      *values, **owners, higher_is_better=higher_is_better
    )
    gap = _gap(share, teacher, b)
  head = {"a": a, "b": b, "metric": metric, "protocol": protocol, "group": group}
  return {**head, **pair, **gap}


def _gap(share, teacher, b):
  """Entries on the gap between the teacher and b."""
  note = None
  if share.value is None:
    note = f"{teacher} is not better than {b}, so there is no gap to close"
  elif share.ci95 is None:
    note = f"the gap between {teacher} and {b} is too uncertain for an interval"
  return {
    "gap_closed": share.value,
    "gap_ci95": share.ci95,
    "gap_note": note,
    "gap_seeds": None if share.value is None else share.n_seeds,
  }


def _values(records, models, metric, protocol, *, slices=False):
  """Values [models, images, seeds], seeds that all models have; subjects [images]."""
  table = {}
  for row in records:
    chosen = row["protocol"] == protocol and row["model"] in models
    if chosen and ("slice" in row) == slices:
      image = row["subject"], row["volume"], row.get("slice")
      table[row["model"], image, row.get("seed")] = row[metric]
  seeds = set.intersection(
    *({seed for name, _, seed in table if name == model} for model in models)
  )
  images = sorted({image for _, image, seed in table if seed in seeds})
  wanted = list(itertools.product(models, images, sorted(seeds)))
  if not wanted or not table.keys() >= set(wanted):
    raise UserError(
      " and ".join(models),
      "no records of the same images",
      f"records of every model on every image under the protocol {protocol}, with the "
      "same seeds",
      "Evaluate all of them on the same files.",
    )
  values = np.array([table[key] for key in wanted], np.float64)
  shape = len(models), len(images), len(seeds)
  return values.reshape(shape), [subject for subject, *_ in images]
