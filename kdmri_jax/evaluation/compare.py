"""A trained experiment -> reconstructions, metrics and the report."""

import importlib.metadata
import os
import pathlib
import platform
from typing import NamedTuple

import jax
import numpy as np

from kdmri_jax import config as config_lib
from kdmri_jax.distillation import attention_transfer
from kdmri_jax.errors import UserError
from kdmri_jax.evaluation import reconstruct, report, tables
from kdmri_jax.models import features as feature_lib
from kdmri_jax.physics import masks
from kdmri_jax.saving import saving
from kdmri_jax.training import batches, log
from kdmri_jax.training.pipeline import Pipeline
from kdmri_jax.training.step import make_predict

ZERO_FILLED = "zero_filled"
_PACKAGES = ("kdmri_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Report(NamedTuple):
  """What a script prints at the end.

  Attributes:
    path: index.html.
    table: the comparison as plain text.
    sentence: what came out, in words.
  """

  path: pathlib.Path
  table: str
  sentence: str


def write_report(pipeline: Pipeline) -> Report:
  """Reconstructs with every finished stage of `evaluation.models`, and reports.

  Writes the h5 files of each model (key "reconstruction") and of the targets, then
  WORKDIR/report. Evaluated are the test subjects, or the validation subjects where
  none are held back.

  Raises:
    UserError: no stage is finished, or the disk is full.
  """
  config, workdir = pipeline.config, pipeline.workdir
  finished = [name for name in config.evaluation.models if pipeline.is_finished(name)]
  if not finished:
    raise UserError(
      workdir.path,
      "no finished stage to evaluate",
      f"one of {', '.join(config.evaluation.models)}",
      "Train one of them: --stages.",
    )
  params = {name: pipeline.best(name) for name in finished}
  images = _reconstruct(pipeline, params)
  folders = {name: workdir.results(name) for name in (ZERO_FILLED, *finished)}
  measured = tables.evaluate_folders(workdir.path / "targets", folders)
  chosen = _central_slice(pipeline)
  inputs = report.ReportInput(
    title=config.name,
    protocol=config.evaluation.protocol,
    tables=measured,
    dataset=pipeline.dataset.record,
    evaluated_on="test" if pipeline.dataset.record["held_out_test"] else "validation",
    mask={**masks.describe(pipeline.dataset.mask), "kind": config.mask.kind},
    parameters={n: feature_lib.count_parameters(p) for n, p in params.items()},
    teacher=config.evaluation.teacher,
    student=config.evaluation.student,
    distilled=config.evaluation.distilled,
    bootstrap=config.evaluation.bootstrap,
    seed=config.seed,
    config=config_lib.to_dict(config),
    environment=environment(pipeline.devices),
    histories={
      name: log.read(workdir.stage(name) / "metrics.jsonl") for name in config.pipeline
    },
    seconds={
      name: progress.seconds
      for name in config.pipeline
      if (progress := pipeline.progress(name)) is not None
    },
    epochs={name: _epochs(config, name) for name in finished},
    mask_image=pipeline.dataset.mask,
    comparison_images={
      "input" if name == ZERO_FILLED else name: reconstruct.real_image(image[chosen])
      for name, image in images.items()
    },
    comparison_range=_volume_range(pipeline, chosen),
    attention=_attention_maps(pipeline, params, chosen),
  )
  analysis = report.analyse(inputs)
  with saving(workdir.path / "report"):
    path = report.write(workdir.path / "report", inputs, analysis=analysis)
  return Report(
    path, report.format_table(analysis["rows"]), "\n".join(analysis["answer"])
  )


def environment(devices) -> dict:
  """Versions and devices, for the report."""
  return {
    "python": platform.python_version(),
    "devices": f"{len(devices)} x {devices[0].device_kind}",
    "cpu_cores": os.cpu_count(),
    **{name: importlib.metadata.version(name) for name in _PACKAGES},
  }


def _epochs(config, name: str) -> int:
  """Epochs behind a stage's weights, those of the stages it started from included."""
  stage = config.stages[name]
  return stage.epochs + (_epochs(config, stage.start_from) if stage.start_from else 0)


def _reconstruct(pipeline: Pipeline, params: dict) -> dict[str, np.ndarray]:
  """Images [N, H, W, C] of the evaluated slices by name; writes their h5 files."""
  evaluated, workdir = pipeline.dataset.test, pipeline.workdir
  images = {"target": evaluated.slices.target}
  reconstruct.write(workdir.path / "targets", images["target"], evaluated, "target")
  outputs = {}
  for name, weights in params.items():
    result = reconstruct.run(
      make_predict(pipeline.models[name], pipeline.devices),
      weights,
      evaluated.slices,
      pipeline.dataset.mask,
      pipeline.config.batch_size,
      f"reconstructing with {name}",
    )
    outputs = {ZERO_FILLED: result.zero_filled, **outputs, name: result.image}
  for name, image in outputs.items():
    reconstruct.write(workdir.results(name), image, evaluated, "reconstruction")
  return {ZERO_FILLED: outputs.pop(ZERO_FILLED), **images, **outputs}


def _central_slice(pipeline: Pipeline) -> int:
  """The middle of the middle volume."""
  spans = pipeline.dataset.test.spans
  start, stop = spans[len(spans) // 2]
  return (start + stop) // 2


def _volume_range(pipeline: Pipeline, index: int) -> float | None:
  """The range of the slice's PSNR: its volume's maximum, or None for its own."""
  if pipeline.config.evaluation.protocol == "slice":
    return None
  target = pipeline.dataset.test.slices.target
  for start, stop in pipeline.dataset.test.spans:
    if start <= index < stop:
      return float(reconstruct.real_image(target[start:stop]).max())
  raise IndexError(index)


def _attention_maps(pipeline: Pipeline, params: dict, index: int) -> dict | None:
  """Attention maps [cascades, H, W] of one slice by model, the teacher's first.

  The layers are those of the experiment's attention transfer; None without one.
  """
  config = pipeline.config
  terms = [
    term
    for name in config.pipeline
    for term in config.stages[name].terms.values()
    if term.loss == "attention_transfer"
  ]
  roles = (
    config.evaluation.teacher,
    config.evaluation.student,
    config.evaluation.distilled,
  )
  if not terms or roles[0] not in params:
    return None
  slices = batches.take(pipeline.dataset.test.slices, np.array([index]))
  maps = {}
  for name in roles:
    if name in params:
      layers = terms[0].hint if name == roles[0] else terms[0].guided
      predict = make_predict(pipeline.models[name], pipeline.devices[:1], layers)
      _, _, picked = predict(params[name], slices, pipeline.dataset.mask)
      attention = [attention_transfer.attention_map(layer)[0] for layer in picked]
      maps[name] = np.stack(jax.device_get(attention))
  return maps
