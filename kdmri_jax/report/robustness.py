"""Measures the networks under the conditions of `evaluation.robustness`.

The values are kept beside the stages, so that a report can be made again, and a
condition be added, without measuring the others again:

  WORKDIR/seed_N/STAGE/robustness/[TASK/]CONDITION.json

A file holds what its values depend on and is used only where this is unchanged.
"""

import dataclasses
import functools
import itertools
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from kdmri_jax import __version__, json_text
from kdmri_jax import config as config_lib
from kdmri_jax.config import TaskConfig
from kdmri_jax.config.schema import CG_SENSE, ZERO_FILLED
from kdmri_jax.data import digests
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.inference import reconstruct
from kdmri_jax.metrics import Metric
from kdmri_jax.report import results, shifted, tables
from kdmri_jax.report.parts import ROBUSTNESS, Parts
from kdmri_jax.report.results import Finished
from kdmri_jax.report.shifted import Condition, Shifted
from kdmri_jax.training import records
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.types import shape_of

_AGAIN = "It is measured anew."


def check(pipeline: Experiment) -> None:
  """Refuses conditions that cannot be measured.

  Raises:
    UserError: names the setting.
  """
  for task in pipeline.config.all_tasks:
    of_task = pipeline.for_task(task)
    for condition in conditions(of_task):
      with arguments_of("config.evaluation."):
        shifted.prepare(of_task, condition)


def conditions(pipeline: Experiment) -> list[Condition]:
  """The conditions of an experiment of one task, without its own."""
  own = TaskConfig(pipeline.config.mask, pipeline.config.noise)
  with arguments_of("config.evaluation.robustness."):
    return shifted.conditions(own, pipeline.config.evaluation.robustness)


def measure(
  finished: Sequence[Finished], metrics: Mapping[str, Metric], parts: Parts
) -> dict[str, tables.Tables]:
  """Measures all networks under every condition.

  Args:
    finished: the finished models of each seed, of one task.
    metrics: the metrics to measure, by name.
    parts: is told of conditions and networks that fail.

  Returns:
    Condition -> its tables, the records with their seed where there are several, those
    of images without a network first; {} where no condition is asked for.
  """
  predict = functools.cache(shifted.make_predict)  # compiled once for all seeds
  found = {}
  for condition in conditions(finished[0].pipeline):
    images = parts.make(
      *(ROBUSTNESS, condition.name, shifted.prepare, finished[0].pipeline, condition),
      otherwise=None,
    )
    if images is None:
      continue
    whole = tables.Tables([], [], metrics, images.source)
    inputs = results.inputs(images.parts, images.acquisitions)
    rows = [(finished[0], name) for name in inputs if not condition.is_of_network]
    rows += [(each, name) for each in finished for name in each.params]
    for each, name in rows:
      part = f"{name} under {condition.name}"
      own = parts.make(
        *(ROBUSTNESS, part, _measured, each, name, condition, images, metrics, predict),
        otherwise=None,
      )
      if own is not None:
        several = len(finished) > 1
        seed = None if name in inputs else each.pipeline.seed
        for kind, more in zip(whole[:2], own[:2], strict=True):
          kind += [{**row, "seed": seed} if several else row for row in more]
    if whole.volumes:
      found[condition.name] = whole
  return found


def _measured(
  finished: Finished,
  name: str,
  condition: Condition,
  images: Shifted,
  metrics: Mapping[str, Metric],
  predict: Callable[..., Callable],
) -> tables.Tables:
  """The records of a network, without its seed; kept ones where they are there."""
  pipeline, params = finished.pipeline, finished.params.get(name, {})
  path = _path(pipeline, name, condition)
  known = _description(pipeline, name, params, condition, images, metrics)
  if path.exists() and (kept := _kept(path, known, metrics)):
    return kept
  found = tables.Tables([], [], metrics)
  for volume, target, image in _reconstructed(
    pipeline, name, params, condition, images, predict
  ):
    label = {"model": name, "volume": volume.name, "subject": volume.subject}
    where = f"{name}, {volume.file}"
    if not np.isfinite(image).all():
      raise UserError(where, "NaN or infinite values in its image", "finite values")
    tables.add_volume(found, label, target, image, where=where)
  values = {"volumes": found.volumes, "slices": found.slices}
  records.write(path, {"measured_with": known, **values})
  return found


def _reconstructed(pipeline, name, params, condition, images: Shifted, predict):
  """Yields each volume with its target and its reconstruction, [S, H, W]."""

  def of_part(slices):
    model, devices = None, pipeline.devices[:1]  # enough for the input alone
    if name not in (ZERO_FILLED, CG_SENSE):
      measured = images.acquisitions[shape_of(slices)]
      model = shifted.network(pipeline.models[name], measured)
      devices = pipeline.devices
    return reconstruct.run(
      predict(model, tuple(devices), condition.size, condition.steps),
      params,
      [slices],
      images.acquisitions,
      pipeline.config.batch_size,
      f"{condition.name}: {name}, seed {pipeline.seed}",
    )

  found = itertools.chain.from_iterable(map(of_part, images.parts))
  for volume, span, result in reconstruct.by_volume(found, images.volumes):
    target, image = images.parts[span.part].target[span.start : span.stop], result.image
    if name == CG_SENSE:
      part, own = images.parts[span.part], images.acquisitions[target.shape[1:3]]
      image = reconstruct.cg_sense(result.zero_filled, part, span, own)
    yield volume, reconstruct.real_image(target), reconstruct.real_image(image)


def _path(pipeline: Experiment, name: str, condition: Condition) -> pathlib.Path:
  folder = pipeline.workdir.stage(name) / "robustness" / pipeline.workdir.task
  return folder / f"{re.sub(r'[^0-9a-zA-Z.]+', '_', condition.name)}.json"


def _description(pipeline, name, params, condition, images: Shifted, metrics) -> dict:
  """Everything the values of a network under a condition depend on."""
  settings = config_lib.to_dict(pipeline.config)
  stage = pipeline.config.stages.get(name)
  masks = (np.ascontiguousarray(a.masks) for a in images.acquisitions.values())
  known = {
    "version": __version__,
    "condition": {
      "task": dataclasses.asdict(condition.task),
      "size": condition.size,
      "steps": condition.steps,
      "coils": settings["coils"],
    },
    "network": settings["models"][stage.model] if stage else None,
    "weights": digests.of_weights(params),
    "masks": digests.digest(masks),
    "images": digests.of_volumes(v.digests for v in images.volumes.volumes),
    "measured": images.parts[0].kspace is not None,
    "volumes": [[v.name, v.subject] for v in images.volumes.volumes],
    "metrics": list(metrics),
  }
  return json_text.plain(known)


def _kept(path: pathlib.Path, known: dict, metrics) -> tables.Tables | None:
  """The values in a file; None where it is damaged or they are of something else."""
  try:
    found = records.read(path, _AGAIN, {"volumes": list, "slices": list})
  except UserError as error:
    logging.warning("%s", error)
    return None
  if found.get("measured_with") != known:
    return None
  volumes, slices = (
    [
      {k: json_text.number(v) if k in metrics else v for k, v in row.items()}
      for row in found[key]
    ]
    for key in ("volumes", "slices")
  )
  return tables.Tables(volumes, slices, metrics)
