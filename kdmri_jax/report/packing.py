"""Turns a finished stage into a pretrained network with its card."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdmri_jax import config as config_lib
from kdmri_jax import models, statistics
from kdmri_jax.config.schema import ZERO_FILLED
from kdmri_jax.data import digests
from kdmri_jax.data.split import counted, unit_of_tested
from kdmri_jax.errors import ArgumentError, UserError
from kdmri_jax.inference import account, reconstruct
from kdmri_jax.metrics import METRICS
from kdmri_jax.models import features
from kdmri_jax.pretrained import card as card_lib
from kdmri_jax.pretrained import store
from kdmri_jax.report import tables
from kdmri_jax.statistics.sample import ENOUGH
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.given import find
from kdmri_jax.training.step import make_predict
from kdmri_jax.training.workdir import read_config, read_data

_PROTOCOL = "kdmri"
_KEPT = ("source", "prepared_from")  # of a volume's record; the rest names files
_PLACES = ("root", "file", "complex_file")  # in the record of the data


@dataclasses.dataclass(frozen=True)
class Origin:
  """What a run does not know about itself; see `Card` for each."""

  images: str
  licence: str
  citation: str
  command: str
  revision: str


def pack(
  workdir: pathlib.Path,
  stage: str,
  name: str,
  origin: Origin,
  *,
  root: str | os.PathLike = "",
  seed: int | None = None,
) -> store.Pretrained:
  """The best weights of a stage in half precision, measured anew, with their card.

  The images are read again. The weights, all networks of the run's comparison and
  their input are compared on the subjects that it holds out.

  Args:
    workdir: of the run.
    stage: the stage; it was trained there.
    name: of the network.
    origin: data and licence, command and revision.
    root: folder of the images, where it has moved.
    seed: of the weights; None takes the run's first.

  Raises:
    ArgumentError: a name that is no file's, or a stage that was not trained there.
    UserError: the run cannot be read, is not finished, or holds no subjects out.
  """
  if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
    raise ArgumentError("name", repr(name), "letters, digits, - and _")
  config = read_config(workdir)
  config = dataclasses.replace(
    config, seed=config.seed if seed is None else seed, seeds=1
  )
  if root:
    config = dataclasses.replace(
      config, data=dataclasses.replace(config.data, root=os.fspath(root))
    )
  if stage not in config.pipeline or config.stages[stage].given or config.tasks:
    found = f"{stage!r}, of a run with the stages {', '.join(config.pipeline)}"
    expected = "a stage that a run of one task has trained"
    raise ArgumentError("stage", found, expected)
  pipeline = Experiment(config, workdir).for_task("")
  if not pipeline.dataset.record["held_out_test"]:
    expected = "subjects that neither train nor select: `data.test`"
    raise UserError(workdir, "a run without held-out subjects", expected)
  if not pipeline.is_finished(stage):
    remedy = "Repeat the command of its run to finish it."
    raise UserError(
      workdir, f"{stage}, which is not finished", "a finished one", remedy
    )
  where = find(f"{workdir}/seed_{config.seed}/{stage}", "stage", pipeline.models[stage])
  known = where.origin(config.seed)
  exact = pipeline.best(stage)
  params = store.rounded(exact)
  data = _without_files(read_data(workdir), pipeline.dataset.record)
  settings = config_lib.to_dict(config_lib.without_folders(config))
  mask = None
  if config.mask.kind == "file":
    ((mask,),) = (each.masks for each in pipeline.dataset.acquisitions.values())
    settings["mask"]["path"] = f"{name}.npy"
  for plan in settings["stages"].values():
    plan["given"] = ""  # `training_sets` has what is known of it
  training = account.training(workdir, config, stage, config.seed, "")
  card = card_lib.Card(
    name=name,
    network=models.describe(pipeline.models[stage], params),
    parameters=features.count_parameters(params),
    stage=stage,
    **dataclasses.asdict(origin),
    trained_on=training.text,
    version=f"kdmri_jax {known.record['version']}",
    digest=digests.of_weights(params),
    digest_in_run=known.digests["best"],
    metrics=_metrics(pipeline, stage, params, exact),
    limits=[card_lib.LIMITS, *training.warnings],
    config=settings,
    data=data,
    record=_trained_with(known.record),
    training_sets=[_shortened(each) for each in known.training_sets],
    complete=known.complete,
  )
  return store.Pretrained(card, params, mask)


def _shortened(training: Mapping[str, Any]) -> dict[str, Any]:
  """A training set with short digests of its slices."""
  subjects = {name: digests.short(d) for name, d in training["subjects"].items()}
  return {**training, "subjects": subjects}


def _without_files(data: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
  """The record of a run's data without the places of its files."""
  volumes = [{k: v[k] for k in _KEPT if k in v} for v in record["volumes"]]
  unique = [v for n, v in enumerate(volumes) if v not in volumes[:n]]
  kept = {key: value for key, value in data.items() if key != "training_slices"}
  return _without_places(kept | {"volumes": unique})


def _without_places(tree: Any) -> Any:
  """A record without its keys of `_PLACES`, at any depth."""
  if isinstance(tree, Mapping):
    return {k: _without_places(v) for k, v in tree.items() if k not in _PLACES}
  return [_without_places(v) for v in tree] if isinstance(tree, list) else tree


def _trained_with(record: Mapping[str, Any]) -> dict[str, Any]:
  """What a stage was trained with: its files and cards by their names alone."""
  short, stage = config_lib.last_part, record["stage"]
  return {
    **record,
    "vgg_weights": short(record["vgg_weights"], is_place=True),
    "stage": stage | {"start_from": short(stage["start_from"])},
    "weights_of": {
      short(name): digest for name, digest in record["weights_of"].items()
    },
  }


def _metrics(pipeline: Experiment, stage: str, params, exact) -> dict[str, Any]:
  """The card's metrics, see `Card`."""
  measured = tables.Tables([], [], {name: METRICS[name] for name in ("psnr", "ssim")})
  others = [n for n in pipeline.config.evaluation.models if n != stage]
  others = [name for name in others if pipeline.is_finished(name)]
  networks = {"this network": (stage, params), "exact": (stage, exact)}
  networks |= {name: (name, pipeline.best(name)) for name in others}
  for label, (name, weights) in networks.items():
    _reconstruct(pipeline, measured, label, name, weights)
  whole = len({row["subject"] for row in measured.volumes}) >= ENOUGH
  records = measured.volumes if whole else measured.slices

  def column(label: str, metric: str) -> tuple[np.ndarray, list[str]]:
    rows = [
      row for row in records if row["model"] == label and row["protocol"] == _PROTOCOL
    ]
    return np.array([row[metric] for row in rows]), [row["subject"] for row in rows]

  def interval(values: np.ndarray, subjects: Sequence[str]) -> dict[str, Any]:
    found = statistics.compare(values, np.zeros_like(values), subjects)
    return {"mean": found.mean_difference, "ci95": found.ci95}

  rows = []
  given = "input" if pipeline.config.mask.kind == "full" else "zero-filled"
  own, subjects = column("this network", "psnr")
  for label in (ZERO_FILLED, "this network", *others):
    values, _ = column(label, "psnr")
    name = given if label == ZERO_FILLED else label
    row: dict[str, Any] = {"name": name, "parameters": None}
    if label != ZERO_FILLED:
      row["parameters"] = features.count_parameters(networks[label][1])
    for metric in measured.metrics:
      row[metric] = interval(*column(label, metric))
    is_other = label != "this network"
    row["gain"] = interval(own - values, subjects) if is_other else None
    rows.append(row)
  over = counted(len(set(subjects)), unit_of_tested(pipeline.data))
  if not whole:
    over = f"{len(own)} slices of {over}"
  return {
    "protocol": _PROTOCOL,
    "over": over,
    "rows": rows,
    "rounding": float(np.mean(own - column("exact", "psnr")[0])),
  }


def _reconstruct(pipeline, measured, label: str, name: str, weights) -> None:
  """Measures one network on the held-out subjects, and its input with the first."""
  data = pipeline.dataset
  slices = reconstruct.run(
    make_predict(pipeline.models[name], pipeline.devices),
    weights,
    data.test.parts,
    data.acquisitions,
    pipeline.config.batch_size,
    f"measuring {label}",
  )
  with_input = not measured.volumes
  for volume, span, result in reconstruct.by_volume(slices, data.test):
    target = data.test.parts[span.part].target[span.start : span.stop]
    images = {label: result.image}
    if with_input:
      images[ZERO_FILLED] = result.zero_filled
    for model, image in images.items():
      tables.add_volume(
        measured,
        {"model": model, "volume": volume.name, "subject": volume.subject},
        *map(reconstruct.real_image, (target, image)),
        where=f"{model}, {volume.name}",
      )
