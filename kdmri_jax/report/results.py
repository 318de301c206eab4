"""The results of an experiment: reconstructs with its finished stages and measures."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.config.schema import CG_SENSE, ZERO_FILLED
from kdmri_jax.errors import UserError, arguments_of
from kdmri_jax.inference import reconstruct
from kdmri_jax.io.volume_files import RESULT
from kdmri_jax.metrics import Metric, resolve
from kdmri_jax.report import example_slice, tables
from kdmri_jax.report.parts import RESULTS, Parts
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.given_stage import GivenImages
from kdmri_jax.training.step import make_predict
from kdmri_jax.types import Acquisition, Shape, Slices, shape_of


class Finished(NamedTuple):
  """The finished models of a seed.

  Attributes:
    pipeline: the experiment with that seed.
    params: their best weights, by name.
    outputs: the models whose images are given, by name.
  """

  pipeline: Experiment
  params: dict[str, Any]
  outputs: dict[str, GivenImages]

  @property
  def names(self) -> set[str]:
    """The names of all models."""
    return {*self.params, *self.outputs}


def read(pipeline: Experiment) -> Finished:
  """The finished stages of `evaluation.models`.

  Given outputs are among them where they cover the evaluated volumes.
  """
  params, outputs = {}, {}
  for name in pipeline.config.evaluation.models:
    given = pipeline.given.get(name)
    if not isinstance(given, GivenImages):
      if pipeline.is_finished(name):
        params[name] = pipeline.best(name)
    elif given.covers(pipeline.dataset.test):
      outputs[name] = given
  return Finished(pipeline, params, outputs)


def measure(
  finished: list[Finished], parts: Parts
) -> tuple[tables.Tables, dict[str, np.ndarray]]:
  """Writes and measures all results; the tables, and a slice of each with one seed.

  Args:
    finished: the finished models of each seed; those that fail are removed.
    parts: is told of models and metrics that fail.

  Returns:
    `tables.Tables`, the records with their seed where there are several; and the
    slice of the first seed's results that is shown, name -> [H, W]. Metrics without
    any value come last, so that the first one ranks the networks.

  Raises:
    UserError: no model is left; or the disk is full.
  """
  first = finished[0].pipeline
  predict = functools.cache(  # compiled once for all seeds
    lambda name: make_predict(first.models[name], first.devices)
  )
  images: list[dict] = []
  for each in finished:
    made = _reconstruct(each, predict, parts, with_input=not any(images))
    images.append(made)
  finished[:] = [each for each in finished if each.params]
  if not any(images):
    failed = "; ".join(failure.reason for failure in parts.failed)
    found = f"no network that could reconstruct the evaluated volumes ({failed})"
    raise UserError(first.workdir.path, found, "one or more")
  measured = folders(finished)
  if len(finished) == 1:
    measured = {name: next(iter(paths.values())) for name, paths in measured.items()}
  targets, metrics = first.workdir.path / "targets", metrics_of(first)
  pairs = tables.pairs(targets, measured, target_key="target", prediction_key=RESULT)
  whole = tables.evaluate(pairs, metrics, parts)

  def is_empty(name):
    return not any(np.isfinite(record[name]) for record in whole.volumes)

  order = sorted(metrics, key=is_empty)
  whole = whole._replace(metrics={name: metrics[name] for name in order})
  return whole, next(filter(None, images))


def owners(finished: Sequence[Finished]) -> dict[str, list[Experiment]]:
  """Model -> the experiment, once per seed for which the model is finished."""
  found = {
    name: [each.pipeline for each in finished if name in each.names]
    for name in finished[0].pipeline.config.evaluation.models
  }
  return {name: pipelines for name, pipelines in found.items() if pipelines}


def inputs(
  parts: Sequence[Slices], acquisitions: Mapping[Shape, Acquisition]
) -> tuple[str, ...]:
  """The rows of images without a network, of slices that are measured like this."""
  measured = parts[0].sensitivities is not None
  simulated = any(each.sensitivities is not None for each in acquisitions.values())
  return (ZERO_FILLED, CG_SENSE) if measured or simulated else (ZERO_FILLED,)


def _inputs(pipeline: Experiment) -> tuple[str, ...]:
  return inputs(pipeline.dataset.test.parts, pipeline.dataset.acquisitions)


def folders(
  finished: Sequence[Finished],
) -> dict[str, dict[int | None, pathlib.Path]]:
  """Model -> seed -> folder of its results; the input's seed is None."""
  first = finished[0].pipeline
  found = {name: {None: first.workdir.results(name)} for name in _inputs(first)}
  for name, pipelines in owners(finished).items():
    found[name] = {each.seed: each.workdir.results(name) for each in pipelines}
  return found


def metrics_of(pipeline: Experiment) -> dict[str, Metric]:
  """The metrics that the config asks for, by name."""
  with arguments_of("config.evaluation."):
    return resolve(pipeline.config.evaluation.metrics)


def _reconstruct(finished: Finished, predict, parts: Parts, *, with_input) -> dict:
  """Writes the h5 files of one seed; the shown slice [H, W] of each by name.

  `predict`: name -> the compiled network; `with_input`: writes also the files of the
  targets and of the images without a network. Models that fail are removed from
  `finished`.
  """
  pipeline, params, outputs = finished
  data, workdir = pipeline.dataset, pipeline.workdir
  shown_volume, shown_slice = example_slice.choose(pipeline)
  images: dict[str, np.ndarray] = {}
  written = _inputs(pipeline)

  def write(shown, name, folder, volume, image, key):
    if not np.isfinite(image).all():
      where = f"{name}, {volume.file}"
      raise UserError(where, "NaN or infinite values in its image", "finite values")
    reconstruct.write(folder, image, volume, key)
    if volume is shown_volume:
      shown[name] = reconstruct.real_image(image[shown_slice])

  def with_network(name, with_input):
    shown: dict[str, np.ndarray] = {}
    slices = reconstruct.run(
      predict(name),
      params[name],
      data.test.parts,
      data.acquisitions,
      pipeline.config.batch_size,
      f"reconstructing with {name}, seed {pipeline.seed}",
    )
    for volume, span, result in reconstruct.by_volume(slices, data.test):
      if with_input:
        target = data.test.parts[span.part].target[span.start : span.stop]
        folder = workdir.results(ZERO_FILLED)
        write(shown, "target", workdir.path / "targets", volume, target, "target")
        write(shown, ZERO_FILLED, folder, volume, result.zero_filled, RESULT)
        if CG_SENSE in written:
          part, own = data.test.parts[span.part], data.acquisitions[target.shape[1:3]]
          image = reconstruct.cg_sense(result.zero_filled, part, span, own)
          write(shown, CG_SENSE, workdir.results(CG_SENSE), volume, image, RESULT)
      write(shown, name, workdir.results(name), volume, result.image, RESULT)
    return shown

  def with_outputs(name):
    shown: dict[str, np.ndarray] = {}
    for part, slices in enumerate(data.test.parts):
      by = data.acquisitions[shape_of(slices)]
      found = outputs[name].of_part(data.test, part, slices, by)["image"]
      for volume, span in data.test.of_part(part):
        image = found[span.start : span.stop]
        write(shown, name, workdir.results(name), volume, image, RESULT)
    return shown

  def made(models, name, function, *arguments):
    part = f"{name} with seed {pipeline.seed}"
    shown = parts.make(RESULTS, part, function, name, *arguments, otherwise={})
    if not shown:
      del models[name]
    images.update(shown)

  for name in list(params):
    made(params, name, with_network, with_input and not images)
  if images or not with_input:  # the inputs have been written
    for name in list(outputs):
      made(outputs, name, with_outputs)
  return images
