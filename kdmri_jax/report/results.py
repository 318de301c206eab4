"""The results of an experiment: reconstructs with its finished stages and measures."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kdmri_jax.config.schema import ZERO_FILLED
from kdmri_jax.errors import arguments_of
from kdmri_jax.inference import reconstruct
from kdmri_jax.io.volume_files import RESULT
from kdmri_jax.metrics import Metric, resolve
from kdmri_jax.report import example_slice, tables
from kdmri_jax.training.experiment import Experiment
from kdmri_jax.training.given import GivenOutputs
from kdmri_jax.training.step import make_predict


class Finished(NamedTuple):
  """The finished models of a seed.

  Attributes:
    pipeline: the experiment with that seed.
    params: their best weights, by name.
    outputs: the models whose images are given, by name.
  """

  pipeline: Experiment
  params: dict[str, Any]
  outputs: dict[str, GivenOutputs]

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
    if not isinstance(given, GivenOutputs):
      if pipeline.is_finished(name):
        params[name] = pipeline.best(name)
    elif given.covers(pipeline.dataset.test):
      outputs[name] = given
  return Finished(pipeline, params, outputs)


def measure(
  finished: Sequence[Finished],
) -> tuple[tables.Tables, dict[str, np.ndarray]]:
  """Writes and measures all results; the tables, and a slice of each with one seed.

  Args:
    finished: the finished models of each seed.

  Returns:
    `tables.Tables`, the records with their seed where there are several; and the
    slice of the first seed's results that is shown, name -> [H, W].
  """
  first = finished[0].pipeline
  predict = functools.cache(  # compiled once for all seeds
    lambda name: make_predict(first.models[name], first.devices)
  )
  images = [
    _reconstruct(each, predict, with_input=each is finished[0]) for each in finished
  ]
  measured = folders(finished)
  if len(finished) == 1:
    measured = {name: next(iter(paths.values())) for name, paths in measured.items()}
  targets, metrics = first.workdir.path / "targets", metrics_of(first)
  pairs = tables.pairs(targets, measured, target_key="target", prediction_key=RESULT)
  return tables.evaluate(pairs, metrics), images[0]


def owners(finished: Sequence[Finished]) -> dict[str, list[Experiment]]:
  """Model -> the experiment, once per seed for which the model is finished."""
  found = {
    name: [each.pipeline for each in finished if name in each.names]
    for name in finished[0].pipeline.config.evaluation.models
  }
  return {name: pipelines for name, pipelines in found.items() if pipelines}


def folders(
  finished: Sequence[Finished],
) -> dict[str, dict[int | None, pathlib.Path]]:
  """Model -> seed -> folder of its results; the input's seed is None."""
  found = {ZERO_FILLED: {None: finished[0].pipeline.workdir.results(ZERO_FILLED)}}
  for name, pipelines in owners(finished).items():
    found[name] = {each.seed: each.workdir.results(name) for each in pipelines}
  return found


def metrics_of(pipeline: Experiment) -> dict[str, Metric]:
  """The metrics that the config asks for, by name."""
  with arguments_of("config.evaluation."):
    return resolve(pipeline.config.evaluation.metrics)


def _reconstruct(finished: Finished, predict, *, with_input: bool) -> dict:
  """Writes the h5 files of one seed; the shown slice [H, W] of each by name.

  `predict`: name -> the compiled network; `with_input`: writes also the files of the
  targets and of the zero-filled images.
  """
  pipeline, params, outputs = finished
  data, workdir = pipeline.dataset, pipeline.workdir
  shown_volume, shown_slice = example_slice.choose(pipeline)
  images = {}

  def write(name, folder, volume, image, key):
    reconstruct.write(folder, image, volume, key)
    if volume is shown_volume:
      images[name] = reconstruct.real_image(image[shown_slice])

  for number, (name, weights) in enumerate(params.items()):
    slices = reconstruct.run(
      predict(name),
      weights,
      data.test.parts,
      data.acquisitions,
      pipeline.config.batch_size,
      f"reconstructing with {name}, seed {pipeline.seed}",
    )
    for volume, span, result in reconstruct.by_volume(slices, data.test):
      if with_input and not number:
        target = data.test.parts[span.part].target[span.start : span.stop]
        inputs = workdir.results(ZERO_FILLED)
        write("target", workdir.path / "targets", volume, target, "target")
        write(ZERO_FILLED, inputs, volume, result.zero_filled, "reconstruction")
      write(name, workdir.results(name), volume, result.image, "reconstruction")
  for name, given in outputs.items():
    for volume in data.test.volumes:
      image = given.images(volume, data.test.parts[0].target.shape[-1])
      write(name, workdir.results(name), volume, image, "reconstruction")
  return images
